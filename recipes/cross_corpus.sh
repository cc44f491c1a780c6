#!/usr/bin/env bash
# Does what is learned on one corpus hold on another? Every corpus trains, and every corpus tests every model.
#
#   recipes/cross_corpus.sh ENCODER CORPUS=DATA CORPUS=DATA [...] [options of run.sh] [-- overrides of the YAML]
#
# ENCODER is a Hugging Face folder or hub name, CORPUS one of run.sh's (csv as often as you like), DATA its folder or
# table. Each is trained by itself with protocol speaker, on all folds, and each of its models tests the whole of every
# other; no utterance of a test corpus is in training or validation, and speakers of like names are counted. Labels
# become those of --labels, 4class by default.
#
# The system is that of --hparams FILE; by default table3/superb_probe.yaml: the encoder is frozen, and computes once
# for each corpus. The experiments are cross_<YAML>, or your --name.
#
# The matrix and the picture: results/cross_<YAML>@<labels>.md and .svg, with the class shares of each corpus; and
# both in the report of each experiment.
#
# What came of it: nEMO (Polish, 3,076 utterances of four emotions), RAVDESS (English) and EMOVO (Italian), all acted,
# 4class, all folds, one seed, encoder Whisper tiny.en, frozen, with -- --epochs 20, one thread of an AMD EPYC,
# 2026-11-26, commit 28b10de. UA in per cent with 95 % intervals over speakers, trained on (rows), tested on (columns):
#
#              EMOVO                 nEMO                  RAVDESS
#   EMOVO      38.10 (22.9 to 53.0)  28.61 (26.8 to 31.4)  29.00 (28.2 to 29.8)
#   nEMO       46.49 (38.1 to 54.3)  58.81 (54.6 to 62.6)  26.05 (25.6 to 26.5)
#   RAVDESS    35.13 (27.1 to 43.6)  34.14 (30.7 to 38.4)  49.09 (45.8 to 52.6)
#
# Chance is 25. Little of what a probe learns on one corpus holds on another; what nEMO teaches serves EMOVO no worse
# than EMOVO's own 224 training utterances. Intervals do not cover how models differ: on EMOVO those of its own folds
# have UA 19.64 to 55.36. For classes of equal shares (compare --equal-shares) RAVDESS on itself has 58.07, and the
# others change by 4 points at most. EMOVO's two channels are two microphones, whose mean weakens sounds near 1.3 kHz.
set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then take_words "" --help; fi
usage="recipes/${0##*/} ENCODER CORPUS=DATA CORPUS=DATA [...] [options of run.sh] [-- overrides of the YAML]"
if (($# < 3)) || [[ $1 == -* || $2 != *=* || $3 != *=* ]]; then
  refuse "it needs an encoder, and two corpora or more with their data" "$usage"
fi
encoder=$(whole_path "$1")
shift
corpora=() data=() names=() made=()
while (($#)) && [[ $1 == *=* && $1 != -* ]]; do
  corpora+=("${1%%=*}") data+=("$(whole_path "${1#*=}")")
  shift
done
take_words "" "$@"
refuse_untrained_emotions

refuse_other_labels() { # the corpora as paths name them: what would be found only after the trainings
  python_here - "$@" <<'END' || exit
import sys
from pathlib import Path

from local.core.errors import UserError, as_command
from local.corpora import manifest


@as_command
def main() -> None:
    tables = {corpus: Path(f"manifests/{corpus}/all.csv") for corpus in sys.argv[1:]}
    labels = {corpus: {*manifest.read(path)["emo"]} - {""} for corpus, path in tables.items() if path.exists()}
    if len({frozenset(each) for each in labels.values()}) > 1:
        each = "; ".join(f"{corpus} {' '.join(sorted(names))}" for corpus, names in labels.items())
        remedy = "--labels FILE, with a map that keeps what all have: manifests/CORPORA.md"
        raise UserError(f"the corpora do not have the same emotions: {each}", remedy)


main()
END
}

yaml=$(last_of hparams "$house/hparams/table3/superb_probe.yaml" "${options[@]}")
key=encoder
if [[ -f $yaml ]] && has_key "$yaml" upstream; then key=upstream; fi
name=$(last_of name "cross_$(basename -- "${yaml%.*}")" "${options[@]}")
labels=$(last_of labels 4class "${options[@]}")
words=(--hparams "$yaml" --labels "$labels" --protocol speaker --folds all)

for at in "${!corpora[@]}"; do
  name_of=$(corpus_name --corpus "${corpora[at]}" --data "${data[at]}")
  if [[ " ${names[*]} " == *" $name_of "* ]]; then
    refuse "two of the corpora are called $name_of, the second of ${data[at]}" \
      "name each corpus once; of two tables or folders of one name, give one another name"
  fi
  names+=("$name_of")
done
for at in "${!corpora[@]}"; do
  of=(--corpus "${corpora[at]}" --data "${data[at]}")
  made+=("$(corpus_name "${of[@]}" --labels "$labels")")
  if [[ $(last_of stage 0 "${options[@]}") == 0 ]]; then
    run_sh "${words[@]}" "${of[@]}" "${options[@]}" --stage 0 --stop-stage 0 -- "--$key" "$encoder" \
      "${overrides[@]}"
  fi
done
if (($(last_of stop-stage 5 "${options[@]}") >= 3)); then refuse_other_labels "${made[@]}"; fi
for at in "${!corpora[@]}"; do
  experiment "$name" "${words[@]}" --corpus "${corpora[at]}" --data "${data[at]}" -- "--$key" "$encoder"
done
wait_for_calls # a model is tested elsewhere when it is trained
if (($(last_of stop-stage 5 "${options[@]}") < 3)); then
  echo "Nothing is tested on another corpus: that needs stage 3."
  exit
fi
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
if (($(last_of stop-stage 5 "${options[@]}") >= 5)); then
  for each in "${experiments[@]}"; do conclude report "$each" >/dev/null; done
fi
