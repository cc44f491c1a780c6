#!/usr/bin/env bash
# What does a pretrained encoder give on a corpus without a GPU? The lowest layers are frozen, the others trained.
#
#   recipes/laptop.sh CORPUS DATA ENCODER [options of run.sh] [-- overrides of the YAML]
#
# CORPUS is one of run.sh's (iemocap, nemo, csv, ...), DATA its folder, or the table of csv, ENCODER a Hugging Face
# folder or hub name. The model is that of mtl_wav2vec2.yaml. What is changed:
#   freeze_layers   the encoder's CNN and the lowest three quarters of its transformer's layers are not trained. Their
#                   output is computed once for the corpus, in a quarter of a second of CPU for a second of audio (below),
#                   and is read by all folds and seeds: 77 KB a second of audio if d is 768
#   epochs          8, of 16 utterances an update, at lr 1e-4 and head-lr 1e-3; the paper has 100 of 8 at 5e-5
#   jobs            two folds at a time, each with half of the CPU's threads; --jobs 1 where memory is short
# The same command goes on after an interruption (Ctrl-C, a closed lid, a flat battery), and does nothing twice. The
# experiment is laptop, or your --name.
#
# The table and the page: results/<corpus>/<protocol>/laptop/RESULTS.md and report.html
#
# How long it takes: wav2vec2-base, from random weights, 24 utterances of IEMOCAP's lengths, updates of 8, fp32, two jobs
# side by side on two cores of an AMD EPYC with AVX2 alone, 2026-11-28, commit 16892e9, others at 3 %. Seconds of audio
# a second, by both jobs:
#
#   the CNN frozen (way d)     4.4    4.2 to 4.6
#   freeze_layers 6 of 12      9.5    9.4 to 9.7
#   freeze_layers 8           13.5   13.0 to 13.7
#   freeze_layers 9           17.3   17.3 to 18.9
#
# IEMOCAP's ten folds have 20,100 s of training audio each, so that 8 epochs of all take 27 hours on two such cores, and
# the stored output, at 8.7 to 9.9 seconds of audio a second, 0.8 before. With way d they would take 106.
#
# What came of it: four emotions of nEMO, protocol speaker, folds EB0, KD0 and TP0 (360 utterances each), one seed,
# encoder Whisper tiny.en, whose 4 layers are frozen from the lowest on, 5 epochs with -- --lr 2e-4 --head-lr 2e-3, one
# thread of an Intel Xeon with AMX, in bfloat16, 2026-11-27, commit 45d269f. Per cent; a fold has as many utterances of
# each emotion, so that UA is WA:
#
#   frozen  alpha   WA pooled, 95 %         EB0     KD0     TP0     WER, 95 %
#   0       0.1     60.83 (57.9 to 63.8)    51.94   52.78   77.78   41.53 (39.9 to 43.2)
#   1       0.1     75.19 (72.5 to 77.8)    77.78   59.44   88.33   49.98 (48.1 to 51.9)
#   2       0.1     76.30 (73.7 to 78.8)    70.83   76.39   81.67   49.25 (47.4 to 51.1)
#   3       0.1     74.63 (72.0 to 77.2)    67.78   77.22   78.89   48.15 (46.5 to 49.9)
#   3       0       77.59 (75.1 to 80.0)    75.28   81.11   76.39   (its CTC head is not trained)
#
# All nine folds of 3 frozen, alpha 0.1, fp32, two threads of an AMD EPYC with AVX2 alone, 2026-11-28, commit a712fb2: WA
# 74.67 (67.7 to 82.1 over the 9 actors), WER 48.97 (39.7 to 59.0); of EB0, KD0 and TP0 as above. With alpha 0: WA
# 74.06 (63.4 to 82.3), -0.62 points from alpha 0.1 (-6.03 to +3.77, p 0.83; McNemar's p 0.30).
#
# In fp32 on an AMD EPYC with AVX2 alone (2026-11-26, commits 8f72503 to c6ca6b5): 76.39 of 2, 74.63 and 77.87 of 3, but
# 65.56 (62.6 to 68.4) of 0, with 64.44 on EB0: where all is trained, what validates, one actor, goes from 87 to 64 %
# within an epoch, and the chosen epoch is a matter of luck. In bfloat16 seed 2 has 65.56 on EB0, seed 1 51.94.
# With 3 frozen and -- --emotion_layers weighted, alpha 0.1: WA 74.35 (-2.13 to +1.67 points from the last layer, p
# 0.79), WER 41.82 (-7.39 to -5.28, p < 0.001). With -- --heads "{gender: 0.1}", alpha 0: 77.13 (-1.57 to +0.65 points, p
# 1), and 72.69 (70.1 to 75.4) of the genders right; {speaker: 0.1}: 77.31 (-1.57 to +1.02, p 1).
# ECE of 2 frozen, of 3, and of alpha 0: 12.40, 10.65, 13.21, with a temperature 10.06, 9.92, 8.78 (changes -3.85 to
# -0.68, -2.08 to +0.93, -5.29 to -3.25): one actor's temperature serves another's voice, but not always.
# Under distortion (--stage 7; results/STRESS.md), 3 frozen, alpha 0.1: what a listener would not notice changes 5.5 %
# (4.2 to 6.9) of the answers; white noise at 10 dB costs 6.7 points of WA (4.1 to 9.3), a second of silence before the
# utterance 9.7 (6.9 to 12.6), playing it 1.2 times as fast 25.5 (22.6 to 28.3).
#
# Training the whole encoder gives the best transcripts and the worst emotions: what it learns of the seven actors of
# training does not hold for others. How many layers are frozen matters little, and three of four cost the least. The
# CTC task changes nothing for emotion here that nine actors could show, where every sentence of the test is in the
# training set; where it is not, two of three actors gain by it (recipes/nemo_alpha.sh).
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then take_words "" --help; fi
if (($# < 3)) || [[ $1 == -* || $2 == -* || $3 == -* ]]; then
  refuse "it needs a corpus, its folder or table, and an encoder" \
    "recipes/${0##*/} CORPUS DATA ENCODER [options of run.sh] [-- overrides of the YAML]"
fi
corpus=$1 data=$(whole_path "$2") encoder=$(whole_path "$3")
take_words "" "${@:4}"

layers_of() { # an encoder
  python_here - "$1" <<'END'
import sys
from pathlib import Path

from local.config import pretrained
from local.core.errors import as_command


@as_command
def main() -> None:
    encoder = sys.argv[1]
    if pretrained.is_path("encoder", encoder):
        pretrained.refuse_absent("encoder", Path(encoder), f"encoder {encoder}")
    from local.core.logs import log_to_stderr  # these take seconds
    from local.encoders import load_encoder

    log_to_stderr()  # without what transformers says of weights that are not used
    print(len(load_encoder(encoder).layers()))


main()
END
}

# What is wrong with these ends here, before what may take long to load.
call=(--corpus "$corpus" --data "$data" --hparams "$house/hparams/mtl_wav2vec2.yaml" "${options[@]}" -- "${overrides[@]}")
"$house/local/shell/check_calls.sh" "${#call[@]}" "${call[@]}"
given=$(last_of freeze-layers "" "${overrides[@]}")
if [[ -z $given ]]; then
  layers=$(layers_of "$encoder")
  given=$((3 * layers / 4))
fi
experiment "$(last_of name laptop "${options[@]}")" --corpus "$corpus" --data "$data" \
  --hparams "$house/hparams/mtl_wav2vec2.yaml" --jobs 2 -- --encoder "$encoder" --freeze-layers "$given" \
  --epochs 8 --batch-size 16 --lr 1e-4 --head-lr 1e-3
wait_for_calls
