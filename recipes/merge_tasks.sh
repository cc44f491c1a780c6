#!/usr/bin/env bash
# Merged or joint? Two trainings, of transcripts and of emotions, whose encoders are merged, against one of both tasks.
#
#   recipes/merge_tasks.sh --corpus CORPUS --data DATA [options of run.sh] [-- --encoder ENCODER ...]
#
# The model is that of mtl_wav2vec2.yaml (mini.yaml for the mini corpus), trained four times from the same encoder, on
# the same folds and with the same seeds:
#   ctc       transcripts alone: emotion_weight 0; WER chooses the epoch
#   emotion   emotions alone: alpha 0
#   joint     both, alpha 0.1
#   merged    the encoder as it was, and of each layer a share of what ctc, and one of what emotion has changed in it.
#             Only the shares and the heads are trained, by the loss of joint; the shares begin at 0.5 (merge_start), the
#             heads as ctc and emotion left them, all at head_lr (local/encoders/task_vectors.py has the sources)
# The shares are learned on the training set, which ctc and emotion have fitted already: where that is much better than
# the test set, they may come out too large. AdaMerging, which learns them on the test set without its labels, is no
# choice here, where nothing of the test set may be seen. All four take the same learning rates; the paper took a lower
# one with alpha 0.
#
# The experiments are merge_ctc, merge_emotion, merge_joint and merge_merged; your --name replaces merge. Your options
# and overrides are those of all four; do not give --alpha or --emotion-weight, by which they differ.
#
# The comparison of the last three, pair by pair, is printed, and written to results/<corpus>/<protocol>/merge_tasks.csv
# (NAME_tasks.csv); without WER of emotion, whose CTC head is not trained. The shares are in RESULTS.md,
# coefficients.csv and, as a plot, report.html of merge_merged.
#
# What came of it: nEMO, folds EB0, KD0 and TP0 (360 utterances each), one seed, encoder Whisper tiny.en, with
# -- --freeze-layers 2 --epochs 3 --batch-size 16 --lr 2e-4 --head-lr 2e-3, in bfloat16 on one thread of an Intel Xeon with
# AMX, 2026-11-27, commit 0a5d1af. Per cent; differences with 95 % intervals and p of one test:
#
#             WA       WER
#   emotion   75.83    (its CTC head is not trained)
#   joint     80.46    60.80    WA +4.63 (+2.69 to +6.57) above emotion, p < 0.001
#   merged    77.87    48.06    WA -2.59 (-4.54 to -0.65) from joint, p 0.009; WER -12.74 (-14.39 to -11.07), p < 0.001
#   ctc       (not)    34.49
#
# Joint training is the better for emotions, merging for transcripts. After 3 epochs alpha 0.1 is above alpha 0; after 5
# with 3 layers frozen it is below (laptop.sh): one seed and three actors do not settle it.
#
# Confidence, with the temperature of the validation set. Sure is a posterior of at least 0.8, as by --unsure 0.8:
#
#             ECE                     sure    WA of the sure          AURC
#   emotion   10.98 (8.7 to 13.3)     65.65   79.83 (76.8 to 82.8)    16.41
#   joint      5.21 (3.3 to  7.2)     66.67   89.72 (87.4 to 91.9)     7.49
#   merged     8.56 (6.5 to 10.7)     64.72   83.55 (80.8 to 86.3)    12.23
#
# Where joint is sure it is right in nine of ten, 9 points above its WA; emotion alone gains 4 by leaving out as many.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "" "$@"
settle_protocol
refuse_untranscribed "$(corpus_name "${options[@]}")"

name=$(last_of name merge "${options[@]}")
experiment "${name}_ctc" -- --emotion-weight 0 --selection valid_wer
experiment "${name}_emotion" -- --alpha 0
experiment "${name}_joint" -- --alpha 0.1
wait_for_calls # with Slurm the two that are merged have not ended yet
if (($(last_of stop-stage 5 "${options[@]}") < 2)); then
  echo "Nothing is merged: that needs stage 2 of ${experiments[0]} and ${experiments[1]}."
  exit
fi
experiment "${name}_merged" -- --alpha 0.1 --ctc-run "$house/${experiments[0]}" \
  --emotion-run "$house/${experiments[1]}"
conclude compare "${experiments[@]:1}" --csv "${experiments[0]%/*}/${name}_tasks.csv"
