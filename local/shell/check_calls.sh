#!/usr/bin/env bash
# Refuse what is wrong with the options or overrides of calls of run.sh before any of them runs: it may be found hours
# later, and once in each.
#
#   local/shell/check_calls.sh N WORD ... N WORD ...        of each call the number of its words, and these
set -euo pipefail
caller=$PWD
export SER_MTL_CALLER=$caller
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
words=()
while (($#)); do
  # shellcheck source=local/shell/parse_options.sh
  . local/shell/parse_options.sh # which also sets what it parses to what it is without options
  parse_options "${@:2:$1}"
  words+=("${#options[@]}" "${options[@]}")
  shift $(($1 + 1))
done
. ./path.sh
python - "${words[@]}" <<'END'
import sys

from local.core.errors import as_command
from local.experiment.command_line import parse


@as_command
def main() -> None:
    words = sys.argv[1:]
    while words:
        count = int(words[0])
        parse(words[1 : count + 1])
        words = words[count + 1 :]


main()
END
