#!/usr/bin/env bash
# The tests: style of shell and Python, then pytest with doctests. Arguments go to pytest, and then style comes last.
#
#   tests/run.sh                          all but the slow ones: 8 to 12 minutes on 2 cores
#   tests/run.sh tests/text -x            the tests of a wing, to the first failure; then style
#   SER_MTL_SPEECH=FOLDER tests/run.sh     an export's forms are compared on recordings of people, not synthetic voices
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. ./path.sh

check_style() {
  echo "== style"
  shellcheck -x run.sh path.sh local/shell/*.sh recipes/*.sh tests/*.sh
  ruff check --quiet
  ruff format --check --quiet
}

run_tests() { # arguments of pytest
  echo "== tests"
  # One thread each: figures must not hang on how many a machine has, and the files run side by side. One process more
  # than there are cores, for some tests wait for processes of their own.
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  local cores workers word paths=0 files=0
  cores=$(getconf _NPROCESSORS_ONLN)
  workers=$((cores < 3 ? cores + 1 : 4))
  for word; do
    [[ ! -e ${word%%::*} ]] || paths=$((paths + 1))
    [[ ! -f ${word%%::*} ]] || files=$((files + 1))
  done
  ((paths != 1 || files != 1)) || workers=0 # for one file, no other process has to import torch
  pytest -m "not slow" --numprocesses "$workers" --dist loadfile --no-loadscope-reorder "$@"
}

if (($# > 0)); then
  run_tests "$@"
  check_style
else
  check_style
  run_tests
fi
