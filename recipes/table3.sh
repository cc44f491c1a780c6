#!/usr/bin/env bash
# Table 3: what does each of its systems give on the same folds, and what do simpler ones?
#
#   recipes/table3.sh IEMOCAP [options] [-- overrides of the YAMLs]
#   recipes/table3.sh --corpus nemo --data NEMO [options] [-- overrides of the YAMLs]
#
# IEMOCAP is the folder IEMOCAP_full_release; --corpus names any other corpus of run.sh. The rows are the YAMLs of
# hparams/table3 and, ours, mtl_wav2vec2.yaml (mini.yaml for the mini corpus without --encoder). All are under one
# protocol, speaker unless you give --protocol. The rows are run one by one, the folds of each --jobs at a time. What is
# done is not done again, so the same command goes on after an interruption, or after more options have been given.
# A row that cannot be run is skipped, and named; one that fails does not stop the others (exit code 1 at the end).
#
# Options besides those of run.sh; a PATH may be the name of a model on the Hugging Face hub where it is an encoder:
#   --rows "R ..."              these rows only; the table has all that were ever run
#   --encoder PATH              of our row; default facebook/wav2vec2-base
#   --upstream PATH             encoder of superb_probe, emotion2vec_probe and fine_tuning, which are skipped without
#   --asr-encoder PATH          of lu_asr_attention; without, it has log-mel energies ("no ASR")
#   --resnet101-weights FILE    of sajjad_key_segments; without, it has log-mel energies ("no ImageNet")
#   --speaker-net PATH          of pappagari_xvector, then at lr 0.0001; without, from random weights ("no pretraining")
#   --hparams FILE              the YAML of our row
# Overrides (-- --epochs 1 --device cpu) go to the rows whose YAML has the key; a row in closed form keeps epochs 0.
# The experiments have the names of their rows; with your --name N they are N_<row>.
#
# The table and the page: results/<corpus>/<protocol>/paper_table3.md and .html (N_paper_table3 with --name N)
#
# What came of it: not run yet.
set -euo pipefail
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"

rows=(wu_capsules sajjad_key_segments lu_asr_attention liu_local_global wang_dual_lstm pappagari_xvector peng_asrnn)
rows+=(mtl_wav2vec2 majority logmel_logistic egemaps_svm superb_probe emotion2vec_probe fine_tuning)

if [[ -n $(last_of corpus "" "$@") ]]; then take_words "" "$@"; else take_words IEMOCAP "$@"; fi
take_own "rows encoder upstream asr-encoder resnet101-weights speaker-net hparams"
if ((${#folders[@]})); then options=(--corpus iemocap --data "${folders[0]}" "${options[@]}"); fi
if [[ -z $(last_of protocol "" "${options[@]}") ]]; then # a table without speakers has another default
  options=(--protocol speaker "${options[@]}")
fi
chosen=${asked[rows]:-${rows[*]}}
read -ra chosen <<<"${chosen//,/ }"
name=$(last_of name "" "${options[@]}")
prefix=${name:+${name}_}

yaml_of() { # row
  if [[ $1 != mtl_wav2vec2 ]]; then
    echo "$house/hparams/table3/$1.yaml"
  elif [[ -n ${asked[hparams]:-} ]]; then
    whole_path "${asked[hparams]}"
  elif [[ $(corpus_name "${options[@]}") == mini && -z ${asked[encoder]:-} ]]; then
    echo "$house/hparams/mini.yaml"
  else
    echo "$house/hparams/mtl_wav2vec2.yaml"
  fi
}

choose_overrides() { # row: the paths that its YAML takes, then the user's overrides that fit it
  local yaml option
  yaml=$(yaml_of "$1")
  overrides=()
  for option in upstream asr-encoder resnet101-weights speaker-net; do
    if [[ -n ${asked[$option]:-} ]] && has_key "$yaml" "${option//-/_}"; then
      overrides+=("--$option" "$(whole_path "${asked[$option]}")")
      if [[ $option == speaker-net ]]; then overrides+=(--lr 0.0001); fi # which somebody else has trained
    fi
  done
  if [[ $1 == mtl_wav2vec2 && -n ${asked[encoder]:-} ]]; then
    overrides+=(--encoder "$(whole_path "${asked[encoder]}")")
  fi
  fit_overrides "$yaml" "${given[@]}"
}

reason_to_skip() { # row
  if grep -q "^upstream:" "$(yaml_of "$1")" && [[ " ${overrides[*]//=/ } " != *" --upstream "* ]]; then
    echo "it needs a pretrained encoder, --upstream PATH"
  elif [[ $1 == egemaps_svm ]] && ! has_module opensmile; then
    echo "opensmile is not installed; hparams/table3/egemaps_svm.yaml says how, and what its licence allows"
  fi
}

given=("${overrides[@]}")
for row in "${chosen[@]}"; do
  [[ " ${rows[*]} " == *" $row "* ]] || refuse "--rows: there is no row '$row'" "take of: ${rows[*]}"
  choose_overrides "$row"
done
refuse_unfitting "${given[@]}"

# The corpus and the folds are the same for all rows: what is wrong with them, or with the options, ends the recipe.
from=$(last_of stage 0 "${options[@]}") to=$(last_of stop-stage 5 "${options[@]}")
if [[ $from == [01] ]]; then
  words=("${options[@]}")
  if [[ $to == [2-6] ]]; then words+=(--stop-stage 1); fi # run.sh refuses what is no stage
  "$house/run.sh" --hparams "$house/hparams/statistics.yaml" "${words[@]}"
  options+=(--stage 2)
fi
if [[ $to == [01] ]]; then exit; fi

remarks=()
for row in "${chosen[@]}"; do
  choose_overrides "$row"
  reason=$(reason_to_skip "$row")
  if [[ -n $reason ]]; then
    remarks+=("$row is skipped: $reason")
    echo "== row $row is skipped: $reason"
    continue
  fi
  echo "== row $row"
  experiment "$prefix$row" --hparams "$(yaml_of "$row")" -- || {
    code=$?
    if ((code > 128)); then exit "$code"; fi # interrupted
    failed+=("$prefix$row")
  }
done
wait_for_calls || true

scored=()
for row in "${rows[@]}"; do
  folder=$(experiment_folder "${options[@]}" --name "$prefix$row")
  if [[ -e $house/$folder/summary.csv ]]; then scored+=("$folder"); fi
done
for row in "${failed[@]}"; do remarks+=("$row failed; what the table has of it, if anything, is of an earlier run"); done
table=$(experiment_folder "${options[@]}" --name "${prefix}paper_table3")
if ((${#scored[@]})); then
  conclude paper table3_all "${scored[@]}" --out "$table.md" --page "$table.html" "${remarks[@]/#/--remark=}"
else
  echo "No table: no row has been scored."
fi
report_failed
