#!/usr/bin/env bash
# The slow tests, which tests/run.sh leaves out. Arguments go to pytest.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. ./path.sh
pytest -m slow "$@"
