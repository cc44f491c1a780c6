"""Speed, scale, and a plan: a command with files of its own, described in `local.benchmark.__main__`."""
