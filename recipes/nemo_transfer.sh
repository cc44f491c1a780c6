#!/usr/bin/env bash
# Does the CTC task help emotion on real speech, with a pretrained encoder of moderate size?
#
#   recipes/nemo_transfer.sh NEMO ENCODER [options of run.sh]
#
# NEMO is the nEMO corpus (data.tsv, samples/), ENCODER a Whisper encoder as a Hugging Face folder.
# Changes against mtl_wav2vec2.yaml: the encoder; encoder lr 2e-4, heads 10 times that; 6 epochs of
# 16 utterances per update; bf16 (twice as fast as fp32 where the processor has it); alpha 0.1 against
# alpha 0. Protocol speaker; --valid none, so that all other speakers train and the last epoch is taken.
# Every sentence of nEMO is spoken by every actor, so a WER here is one on sentences that were
# heard in training: it is not one of unseen text.
#
# What came of it: fold TP0 alone (--folds TP0, 1/9 folds, 360 utterances, one seed), encoder Whisper
# tiny.en, one thread of an AMD EPYC, 2026-11-22, some 120 to 180 s an epoch:
#
#   alpha 0.1   WA 96.11   UA 96.11   WER  37.23
#   alpha 0     WA 87.78   UA 87.78   WER 111.15   (its CTC head is not trained)
#
# One fold and one seed prove nothing yet. How little they do: with --valid partner, where speaker WR0
# does not train but chooses the epoch (UA on WR0 never passed .58 with alpha 0.1), the same fold gave
# WA 72.78 (epoch 3) with alpha 0.1 and 79.72 (epoch 4) with alpha 0, the other way round.
set -euo pipefail
[[ $# -ge 2 && -d $1 && -d $2 ]] || {
  echo "error: two folders are wanted, the nEMO corpus and a Whisper encoder" >&2
  echo "  try: recipes/nemo_transfer.sh NEMO ENCODER [options of run.sh]" >&2
  exit 2
}
data=$(cd -- "$1" && pwd)
encoder=$(cd -- "$2" && pwd)
shift 2
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

for alpha in 0.1 0; do
  ./run.sh --corpus nemo --data "$data" --protocol speaker --valid none --name "whisper_alpha${alpha}_last" "$@" -- \
    --encoder "$encoder" --alpha "$alpha" --lr 2e-4 --head-lr 2e-3 --epochs 6 --batch-size 16 --micro-batch-size 8 \
    --precision bf16
done
