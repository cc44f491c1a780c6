#!/usr/bin/env bash
# Does what is learned on one corpus hold on another? Every corpus trains, and every corpus tests every model.
#
#   recipes/cross_corpus.sh ENCODER CORPUS=DATA CORPUS=DATA [...] [options of run.sh] [-- overrides of the YAML]
#
# ENCODER is a Hugging Face folder or hub name, CORPUS one of run.sh's (csv as often as you like), DATA its folder or
# table. Each is trained by itself with protocol speaker, on all folds, and each of its models tests the whole of every
# other; nothing of a test corpus is in training or validation. Labels become those of --labels, 4class by default.
#
# The system is that of --hparams FILE; by default table3/superb_probe.yaml: the encoder is frozen, and computes once
# for each corpus. The experiments are cross_<YAML>, or your --name.
#
# The matrix and the picture: results/cross_<YAML>@<labels>.md and .svg, with the class shares of each corpus.
#
# What came of it: not run yet.
set -euo pipefail
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then take_words "" --help; fi
usage="recipes/${0##*/} ENCODER CORPUS=DATA CORPUS=DATA [...] [options of run.sh] [-- overrides of the YAML]"
if (($# < 3)) || [[ $1 == -* || $2 != *=* || $3 != *=* ]]; then
  refuse "it needs an encoder, and two corpora or more with their data" "$usage"
fi
encoder=$(whole_path "$1")
shift
corpora=() data=() names=()
while (($#)) && [[ $1 == *=* && $1 != -* ]]; do
  corpora+=("${1%%=*}") data+=("$(whole_path "${1#*=}")")
  shift
done
take_words "" "$@"

yaml=$(last_of hparams "$house/hparams/table3/superb_probe.yaml" "${options[@]}")
key=encoder
if [[ -f $yaml ]] && has_key "$yaml" upstream; then key=upstream; fi
name=$(last_of name "cross_$(basename -- "${yaml%.*}")" "${options[@]}")
labels=$(last_of labels 4class "${options[@]}")
words=(--hparams "$yaml" --labels "$labels" --protocol speaker --folds all)

for at in "${!corpora[@]}"; do
  of=(--corpus "${corpora[at]}" --data "${data[at]}")
  names+=("$(corpus_name "${of[@]}")")
  if [[ $(last_of stage 0 "${options[@]}") == 0 ]]; then
    "$house/run.sh" "${words[@]}" "${of[@]}" "${options[@]}" --stage 0 --stop-stage 0 -- "--$key" "$encoder" \
      "${overrides[@]}"
  fi
done
for at in "${!corpora[@]}"; do
  experiment "$name" "${words[@]}" --corpus "${corpora[at]}" --data "${data[at]}" -- "--$key" "$encoder"
done
wait_for_calls # a model is tested elsewhere when it is trained
options+=(--stage 3)
for at in "${!corpora[@]}"; do
  for other in "${!corpora[@]}"; do
    if ((at != other)); then
      experiment "$name" "${words[@]}" --corpus "${corpora[at]}" --data "${data[at]}" --test-corpus "${names[other]}" \
        -- "--$key" "$encoder"
    fi
  done
done
conclude compare "${experiments[@]}" --corpora --out "results/$name@$(basename -- "${labels%.*}").md"
