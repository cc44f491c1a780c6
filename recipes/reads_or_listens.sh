#!/usr/bin/env bash
# Does the model read or listen? What its answers owe to the words, and what to the manner of saying them.
#
#   recipes/reads_or_listens.sh --corpus CORPUS --data DATA [options] [-- overrides of the YAML]
#
# The multi-task system is trained with alpha 0 and 0.1. Then transcripts of each fold's test set, each with the emotion
# of its utterance, are spoken by one neutral voice of espeak-ng, and in the manner of every emotion, so that words and
# manner are crossed: neutral words in every manner, and words of one emotion in the manner of another. The table has,
# with intervals, how far the posteriors follow the words, how far the manner, and how alpha 0.1 differs from alpha 0.
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
# What came of it: nEMO, folds EB0, KD0 and TP0, one seed, encoder Whisper tiny.en, 3 of its 4 layers frozen, 5 epochs:
# the models of recipes/laptop.sh. 240 texts in 4 manners by the voice pl; one thread of an AMD EPYC, 2026-11-26, commit
# 4fefd97. Points of posterior with 95 % intervals over texts; p after Holm over 7:
#
#                            alpha 0                 alpha 0.1               difference
#   the test set itself      67.60 (64.9 to 70.2)    60.39 (57.9 to 62.9)    -7.21 (-8.46 to -5.93), p < 0.001
#   words, all manners       -1.69 (-4.3 to 1.0)     -0.87 (-3.1 to 1.4)     +0.81 (-0.78 to +2.29), p 0.95
#   manner, all words        31.96 (28.2 to 35.6)    28.02 (24.8 to 31.1)    -3.95 (-5.82 to -2.08), p < 0.001
#   answers as the words     15.28 (12.9 to 17.8)    16.39 (13.8 to 19.1)    +1.11 (-0.98 to +3.15), p 0.95
#   answers as the manner    51.25 (47.3 to 55.2)    49.31 (45.2 to 53.4)    -1.94 (-5.12 to +1.22), p 0.95
#
# Both listen, even to a synthesiser that they have never heard, and alpha 0.1 a little less; neither reads. Here the
# words cannot tell: 66 of the 86 different texts are said in several emotions. A corpus whose words differ is not run.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "" "$@"
take_own "sentences voice"
[[ ${asked[sentences]:-1} =~ ^0*[1-9][0-9]*$ ]] ||
  refuse "--sentences ${asked[sentences]} is not a number of sentences" "give 1 or more"

refuse_unspeakable() { # the corpus as paths name it, a voice: what would be found only after the trainings
  python_here - "$@" <<'END' || exit
import sys
from pathlib import Path

from local.core.errors import as_command
from local.corpora import manifest
from local.reads_or_listens import refuse_unspeakable


@as_command
def main() -> None:
    corpus, voice = sys.argv[1:]
    refuse_unspeakable(corpus, manifest.read(Path(f"manifests/{corpus}/all.csv"))["emo"], voice)


main()
END
}

settle_protocol
corpus=$(corpus_name "${options[@]}")
refuse_untranscribed "$corpus"
if [[ -e $house/manifests/$corpus/all.csv ]]; then refuse_unspeakable "$corpus" "${asked[voice]:-}"; fi

name=$(last_of name reads "${options[@]}")
for alpha in 0 0.1; do
  experiment "${name}_alpha$alpha" -- --alpha "$alpha"
done
words=(--out "${experiments[0]%/*}/${name}_or_listens.md")
for own in "${!asked[@]}"; do words+=("--$own" "${asked[$own]}"); done
conclude reads_or_listens "${experiments[@]}" "${words[@]}"
