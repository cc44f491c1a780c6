#!/usr/bin/env bash
# The tests: style of shell and Python, then pytest with doctests. Arguments go to pytest.
#
#   tests/run.sh                          all but the slow ones, under 10 minutes on 2 cores
#   tests/run.sh tests/text -x            the tests of a wing, to the first failure
#   SER_MTL_SPEECH=FOLDER tests/run.sh     an export's forms are compared on recordings of people, not synthetic voices
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. ./path.sh

echo "== style"
shellcheck -x run.sh path.sh local/shell/*.sh recipes/*.sh tests/*.sh
ruff check --quiet
ruff format --check --quiet

echo "== tests"
# One thread each: figures must not hang on how many a machine has, and the files run side by side. One process more
# than there are cores, for some tests wait for processes of their own.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cores=$(getconf _NPROCESSORS_ONLN)
pytest -m "not slow" --numprocesses $((cores < 3 ? cores + 1 : 4)) --dist loadfile --no-loadscope-reorder "$@"
