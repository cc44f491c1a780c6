#!/usr/bin/env bash
# Does the CTC task help emotion on real speech, of speakers and sentences heard nowhere in training?
#
#   recipes/nemo_alpha.sh NEMO ENCODER [options of run.sh] [-- overrides of the YAML]
#
# NEMO is the nEMO corpus (data.tsv, samples/), ENCODER a Whisper encoder as a Hugging Face folder. Protocol
# speaker with --hold-text true: every actor of nEMO says the same sentences, and otherwise text could be learnt by
# heart. --valid none: all other actors train, and the last epoch is taken.
# Changes against mtl_wav2vec2.yaml: the encoder; alpha 0.1, 0, 0.01, 1; encoder lr 2e-4, heads 10 times that;
# 8 epochs of 16 utterances per update; bf16. The experiments are whisper_alpha<A>; a user's --name takes
# the place of whisper.
#
# The comparison of every pair: printed, and results/nemo/whisper_alpha.csv
#
# What came of it:
#   (being measured)
#
# Before text was held out (recipes/nemo_transfer.sh then): fold TP0 alone (1/9 folds, 360 utterances), one seed,
# Whisper tiny.en, 6 epochs, 2026-11-22; its WER is one on sentences that were heard in training.
#   --valid none:      alpha 0.1 WA 96.11 WER 37.23, alpha 0 WA 87.78 (WER 111.15, its CTC head is not trained)
#   --valid partner:   alpha 0.1 WA 72.78 (epoch 3), alpha 0 WA 79.72 (epoch 4): the other way round
# One fold and one seed prove nothing.
set -euo pipefail
# shellcheck source=local/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/recipe_options.sh"
take_words "NEMO ENCODER" "$@"

for alpha in 0.1 0 0.01 1; do
  experiment "$(last_of name whisper "${options[@]}")_alpha$alpha" \
    --corpus nemo --data "${folders[0]}" --protocol speaker --hold-text true --valid none -- \
    --encoder "${folders[1]}" --alpha "$alpha" --lr 2e-4 --head-lr 2e-3 --epochs 8 --batch-size 16 --micro-batch-size 8 \
    --precision bf16
done
conclude compare "${experiments[@]}" --csv results/nemo/whisper_alpha.csv
