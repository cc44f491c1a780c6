#!/usr/bin/env bash
# Speech emotion recognition with multi-task learning: the stages, one call each.
#
#   ./run.sh                                                    the mini corpus (synthetic voices), all stages
#   ./run.sh --corpus iemocap --data IEMOCAP_full_release       IEMOCAP with the paper's model
#   ./run.sh --stage 2 --stop-stage 4 --folds "01F 01M" -- --alpha 0.01 --epochs 30
#
# Options (--x v or --x=v, dashes or underscores):
#   --stage N                   first stage: 0 corpus  1 folds  2 train  3 decode  4 score  5 report  6 export  7 stress
#   --stop-stage N              last stage; default 5, or N with --stage N: 6 and 7 run on request only
#   --corpus C                  mini (default), iemocap, ravdess, msp-podcast, csv, ...: manifests/CORPORA.md lists all;
#                               several, such as "nemo ravdess", train together
#   --data PATH                 the corpus's folder, or the table of corpus csv
#   --columns "OURS=THEIRS ..." what that table calls its columns: "wav=path emo=emotion spk_id=speaker"
#   --labels MAP                which label becomes which: 4class, 6class, valence, arousal, or a file in CSV or YAML;
#                               the corpus is then called C@MAP in every path
#   --partial true              continue with what there is of an incomplete corpus
#   --protocol P                speaker (default), session, recording; official: the lists of the table's column split;
#                               corpus: leave one corpus out; random: optimistic, for tables without these
#   --valid V                   partner, recordings, speakers, utterances, list (of official), none; default: the
#                               protocol's; or oracle: OPTIMISTIC, the test set chooses the epoch, as some papers did
#   --hold-text true            hold out a third of the sentences: they are tested, and in no training set
#   --extra-training all-turns  also train on the turns without one of the emotions: IEMOCAP's other 4,508, rows of a
#                               table with an empty emo, what a map of labels leaves out; they train CTC and heads
#                               whose labels they have
#   --folds "F ..."             default: all, or two of the mini corpus; all
#   --seeds "S ..."             default 1
#   --hparams FILE              default hparams/mtl_wav2vec2.yaml, or mini.yaml for the mini corpus
#   --last-epoch true           stage 3 also decodes the last epoch, beside the chosen one; stage 4 reports its WA, UA
#                               and weighted F1, and it is never chosen, compared or exported
#   --test-corpus C             stages 3 to 5 and 7 test the models on the whole of this corpus, made by stage 0
#   --stress "C ..."            conditions of stage 7: white pink babble reverb telephone mp3 clipping gain tilt speed
#                               silence inaudible; default all. What each is: results/STRESS.md
#   --name NAME                 the experiment's name in results; default: the YAML's
#   --jobs N                    folds at a time, several on a GPU as its memory allows; default: one per GPU; on a
#                               CPU one, or by threads of the YAML
#   --processes N               processes that train one fold together, one per GPU; default 1
#   --backend B                 local (default), or slurm: a job array each for stages 2, 3 and 7: recipes/RUNNING.md
#   --force true                overwrite what is there
#   --status                    run nothing, show the state of each fold: of --name NAME, of --corpus C, or of all
#   --help                      print this; with --corpus C, what C is, where to ask for it, what it must look like
# After a lone --, overrides of the YAML: -- --alpha 0.01 --epochs 30 --device cpu
#
# Exit codes: 0 done; 1 a job failed, its log is named; 2 an error in the options, the corpus or the set-up.

set -euo pipefail
[[ ! -L $0 ]] || exec "$(readlink -f -- "$0")" "$@" # called by a link to it
caller=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
SER_MTL_COMMAND="./run.sh${*:+$(printf ' %q' "$@")}"
export SER_MTL_COMMAND SER_MTL_CALLER=$caller

. local/shell/parse_options.sh
parse_options "$@"
. ./path.sh
if [[ $status == true ]]; then
  exec python -m local.status "${options[@]}"
fi

# Where a stream is closed, the first file that a stage opens would have its number, and what is printed.
{ : 3>&1; } 2>/dev/null || exec >/dev/null
{ : 3>&2; } || exec 2>/dev/null

# In the background, and waited for: a signal to this script reaches the stage, whose jobs save and end.
stage() { # module of local, and its words before the options
  python -m "local.$1" "${@:2}" "${options[@]}" &
  running=$!
  wait "$running"
}
# shellcheck disable=SC2329 # the traps call it
end() { # exit code
  trap '' HUP INT TERM
  [[ -z ${running:-} ]] || kill -TERM "$running" 2>/dev/null || true
  wait
  exit "$1"
}
trap 'end 129' HUP
trap 'end 130' INT
trap 'end 143' TERM
export SER_MTL_PARENT=$$ # a stage ends when this process is killed

# A function, so that bash has read it whole: this file may change while the stages run.
stages() {
  if ((stage <= 0 && stop_stage >= 0)); then
    stage prepare
  fi

  if ((stage <= 1 && stop_stage >= 1)); then
    stage folds
  fi

  if ((stage <= 2 && stop_stage >= 2)); then
    stage launch train
  fi

  if ((stage <= 3 && stop_stage >= 3)); then
    stage launch decode
  fi

  if ((stage <= 4 && stop_stage >= 4)); then
    stage score
  fi

  if ((stage <= 5 && stop_stage >= 5)); then
    stage report
  fi

  if ((stage <= 6 && stop_stage >= 6)); then
    stage launch export
  fi

  if ((stage <= 7 && stop_stage >= 7)); then
    stage launch stress
    stage stress_report
  fi

  if [[ $corpus == mini ]]; then
    echo "The mini corpus's voices are synthetic: these figures say nothing of real speech."
    echo "IEMOCAP: ./run.sh --corpus iemocap --data /path/to/IEMOCAP_full_release"
  fi
  exit 0
}
stages
