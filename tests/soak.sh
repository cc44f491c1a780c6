#!/usr/bin/env bash
# The slow tests, which tests/run.sh leaves out. Arguments go to pytest.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. ./path.sh
pytest -m slow "$@"
