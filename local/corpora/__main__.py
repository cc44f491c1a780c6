"""Print what a corpus is, where to ask for it and what its folder must look like: `./run.sh --corpus NAME --help`.

    python -m local.corpora NAME

Read from the text of its file, so that it needs no environment.
"""

from __future__ import annotations

import ast

from local.core.errors import Parser, UserError, as_command
from local.corpora import NAMES, file_of, parts


@as_command
def main() -> None:
    """Print the docstring of a corpus's file; of several first what that means."""
    parser = Parser(prog="python -m local.corpora", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help=" ".join(NAMES))
    names = [part for word in " ".join(parser.parse_args().names).split() for part in parts(word)]
    for name in names or [""]:
        if name not in NAMES:
            raise UserError(f"unknown corpus '{name}'", f"take one of: {' '.join(NAMES)}")
    for name in (["several"] if len(names) > 1 else []) + names:
        print(f"--corpus {name}\n")
        print(ast.get_docstring(ast.parse(file_of(name).read_text(encoding="utf-8"))) + "\n")


if __name__ == "__main__":
    main()
