#!/usr/bin/env bash
# Table 3, our row: what does the paper's model give on IEMOCAP, on the paper's folds and on unknown speakers?
#
#   recipes/mtl_wav2vec2.sh IEMOCAP [options of run.sh] [-- overrides of the YAML]
#
# IEMOCAP is the folder IEMOCAP_full_release. The values are those of mtl_wav2vec2.yaml (alpha 0.1). Two experiments:
#   protocol recording   the paper's folds, whose tested speakers are in the training set too: the paper's figure
#                        (78.15 %) is beside ours in the table
#   protocol speaker     no tested speaker is in the training set: our own figure, in a row of its own
# Your --protocol P replaces both. Each has its protocol's default validation. The test set does not choose the epoch;
# in the paper it may have, since the paper has no validation list.
#
# The table: results/iemocap/paper_table3.md
#
# What came of it: not run yet on IEMOCAP.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "IEMOCAP" "$@"

name=$(last_of name mtl_wav2vec2 "${options[@]}")
for protocol in $(last_of protocol "recording speaker" "${options[@]}"); do
  experiment "$name" --corpus iemocap --data "${folders[0]}" --protocol "$protocol" --
done
conclude paper table3 "${experiments[@]}" --out results/iemocap/paper_table3.md
