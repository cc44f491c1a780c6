#!/usr/bin/env bash
# Table 4 and Figure 2: what does the weight of the CTC task do to accuracy and WER?
#
#   recipes/ablation_alpha.sh IEMOCAP [options of run.sh] [-- overrides of the YAML]
#
# IEMOCAP is the folder IEMOCAP_full_release. Changes against mtl_wav2vec2.yaml: alpha 0, 0.001, 0.01, 0.1 and 1,
# with lr 1e-5 at alpha 0 as in the paper (which says that it diverges otherwise) and 5e-5 elsewhere. Protocol
# recording, whose folds are the paper's, with its default validation. Fifty trainings: --folds "04M" is Figure 2 alone.
# The experiment of alpha 0.1 is mtl_wav2vec2, that of recipes/mtl_wav2vec2.sh, and is not trained twice; the others
# are mtl_wav2vec2_alpha<A>. Your --name replaces mtl_wav2vec2 in all of them.
#
# The tables: results/iemocap/paper_table4.md and paper_figure2.md
#
# What came of it: not run yet on IEMOCAP.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "IEMOCAP" "$@"

for alpha in 0 0.001 0.01 0.1 1; do
  name=$(last_of name mtl_wav2vec2 "${options[@]}")
  lr=5e-5
  if [[ $alpha != 0.1 ]]; then name+=_alpha$alpha; fi
  if [[ $alpha == 0 ]]; then lr=1e-5; fi
  experiment "$name" --corpus iemocap --data "${folders[0]}" --protocol recording -- --alpha "$alpha" --lr "$lr"
done
conclude paper table4 "${experiments[@]}" --out results/iemocap/paper_table4.md
conclude paper figure2 "${experiments[@]}" --out results/iemocap/paper_figure2.md
