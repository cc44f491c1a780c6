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
