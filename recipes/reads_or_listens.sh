#!/usr/bin/env bash
# Does the model read or listen? What its answers owe to the words, and what to the manner of saying them.
#
#   recipes/reads_or_listens.sh --corpus CORPUS --data DATA [options] [-- overrides of the YAML]
#
# The multi-task system is trained with alpha 0 and 0.1. Then transcripts of each fold's test set, each with the emotion
# of its utterance, are spoken by one neutral voice of espeak-ng, and in the manner of every emotion, so that words and
# manner are crossed: neutral words in every manner, and words of one emotion in the manner of another. How far the
# posteriors follow the words, and how far the manner, is told with intervals, and alpha 0.1 held against alpha 0.
#
# Where every speaker says the same sentences in all emotions (nEMO, RAVDESS) the words tell nothing, and a model can
# only listen; the table says how many texts are said in several emotions.
#
# Options besides those of run.sh:
#   --sentences N               of each emotion and fold; default 20
#   --voice V                   of espeak-ng; default: that of the corpus's language
# The experiments are reads_alpha0 and reads_alpha0.1; your --name replaces reads.
#
# The table and the picture: results/<corpus>/<protocol>/reads_or_listens.md and .svg (N_or_listens with --name N)
#
# What came of it: not run yet.
set -euo pipefail
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "" "$@"
take_own "sentences voice"

name=$(last_of name reads "${options[@]}")
for alpha in 0 0.1; do
  experiment "${name}_alpha$alpha" -- --alpha "$alpha"
done
words=(--out "${experiments[0]%/*}/${name}_or_listens.md")
for own in "${!asked[@]}"; do words+=("--$own" "${asked[$own]}"); done
conclude reads_or_listens "${experiments[@]}" "${words[@]}"
