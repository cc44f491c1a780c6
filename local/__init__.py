"""The code of the recipe: a file is a command, a folder is a wing; see README.md here."""

import sys
from importlib.util import find_spec

# `python -m local...` in a shell that has not sourced path.sh: said here, before a module fails with a traceback.
# Elsewhere (`import ser_mtl`) Python's own error is the one to expect.
if sys.argv[:1] == ["-m"] and find_spec("speechbrain") is None:
    print(f"error: {sys.executable} lacks the packages of this recipe\n  try: . ./path.sh", file=sys.stderr)
    sys.exit(2)
