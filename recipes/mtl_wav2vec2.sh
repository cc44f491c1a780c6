#!/usr/bin/env bash
# Table 3, our row: what does the paper's model give on IEMOCAP, on the paper's folds and on unknown speakers?
#
#   recipes/mtl_wav2vec2.sh IEMOCAP [options of run.sh] [-- overrides of the YAML]
#
# IEMOCAP is the folder IEMOCAP_full_release. Nothing of mtl_wav2vec2.yaml is changed (alpha 0.1). Two experiments:
#   protocol recording   the paper's folds, in which the tested speakers are heard in training: its figure
#                        (78.15 %) stands beside ours in the table
#   protocol speaker     no tested speaker is heard in training: what we believe in, in a row of its own
# A user's --protocol P takes the place of both. Each has its protocol's default validation, and the test
# part does not choose the epoch, as it may have in the paper, which has no validation list.
#
# The table: results/iemocap/paper_table3.md
#
# What came of it: not run yet on IEMOCAP.
set -euo pipefail
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "IEMOCAP" "$@"

name=$(last_of name mtl_wav2vec2 "${options[@]}")
for protocol in $(last_of protocol "recording speaker" "${options[@]}"); do
  experiment "$name" --corpus iemocap --data "${folders[0]}" --protocol "$protocol" --
done
conclude paper table3 "${experiments[@]}" --out results/iemocap/paper_table3.md
