#!/usr/bin/env bash
# Print the protocol that options of run.sh mean, by the table of the corpus if they name none.
#
#   local/shell/default_protocol.sh OPTIONS
set -euo pipefail
caller=$PWD
export SER_MTL_CALLER=$caller
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
# shellcheck source=local/shell/parse_options.sh
. local/shell/parse_options.sh
parse_options "$@"
. ./path.sh
python - "${options[@]}" <<'END'
import sys

from local.core.errors import as_command
from local.experiment.command_line import parse


@as_command
def main() -> None:
    print(parse(sys.argv[1:]).chosen_protocol())


main()
END
