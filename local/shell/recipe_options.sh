# shellcheck shell=bash
# What the recipes share. A recipe's options and overrides come first and the user's after them, so that
# the user's win: of a repeated one, run.sh takes the last.

unset CDPATH # with it, cd prints where it went
house=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
folders=()     # those that the recipe wants, whole paths
options=()     # of run.sh, the user's
overrides=()   # of the YAML, the user's
experiments=() # folders below results, as they are made
calls=()       # of run.sh, side by side, where Slurm does the work

take_words() { # the names of the folders that the recipe wants, the words of its command line
  local name names=$1
  shift
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 0
  fi
  for name in $names; do
    if [[ ! -d ${1:-} ]]; then
      echo "error: $name is to be a folder, and '${1:-}' is none" >&2
      echo "  try: recipes/${0##*/} $names [options of run.sh] [-- overrides of the YAML]" >&2
      exit 2
    fi
    folders+=("$(cd -- "$1" && pwd)")
    shift
  done
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  overrides=("${@:2}")
}

last_of() { # an option of run.sh, its value where it is not given, words
  local option=$1 value=$2 name
  shift 2
  while (($#)); do
    name=${1%%=*}
    if [[ ${name//_/-} == "--$option" ]]; then
      if [[ $1 == *=* ]]; then value=${1#*=}; else value=${2:-}; fi
    fi
    shift
  done
  echo "$value"
}

# Runs the stages in the current folder of the user, so that relative paths are the user's; a failure ends the
# recipe. The name is the recipe's last word: a user's --name has gone into it. With --backend slurm all
# experiments are in the queue at once; the folds, which they share, are made by one at a time.
experiment() { # name, options of run.sh, --, overrides of the YAML
  local name=$1 words=() protocol from to oracle=""
  shift
  while [[ $1 != -- ]]; do
    words+=("$1")
    shift
  done
  words+=("${options[@]}")
  if [[ $(last_of backend local "${words[@]}") == slurm ]]; then
    from=$(last_of stage 0 "${words[@]}") to=$(last_of stop-stage 5 "${words[@]}")
    trap leave INT TERM
    if [[ $from == [01] ]]; then
      "$house/run.sh" "${words[@]}" --name "$name" --stop-stage "$([[ $to == 0 ]] && echo 0 || echo 1)" "$@" "${overrides[@]}"
      from=2
    fi
    if [[ $to != [01] ]]; then
      "$house/run.sh" "${words[@]}" --name "$name" --stage "$from" "$@" "${overrides[@]}" &
      calls+=("$!")
    fi
  else
    "$house/run.sh" "${words[@]}" --name "$name" "$@" "${overrides[@]}"
  fi
  protocol=$(last_of protocol speaker "${words[@]}")
  if [[ $(last_of valid "" "${words[@]}") == oracle ]]; then oracle=-valid_oracle; fi
  if [[ $protocol == random || -n $oracle ]]; then protocol+=$oracle-OPTIMISTIC; fi
  if [[ $(last_of hold-text false "${words[@]}") == [Tt][Rr][Uu][Ee] ]]; then protocol+=-hold_text; fi
  experiments+=("results/$(corpus_name "${words[@]}")/$protocol/$name")
}

corpus_name() { # options of run.sh: the corpus as paths name it, a table of the user's own by its file
  local corpus file
  corpus=$(last_of corpus mini "$@")
  if [[ $corpus == csv ]]; then
    file=$(basename -- "$(last_of data "" "$@")")
    corpus=${file%.*}
  fi
  echo "$corpus"
}

# Of a corpus that stage 0 has examined, a line each: a protocol that it serves, and that protocol's own validation.
served() { # the corpus as paths name it
  (
    cd -- "$house" || exit
    . ./path.sh
    python - "manifests/$1/all.csv" <<'END'
import sys
from pathlib import Path

from local.corpora import manifest
from local.splits import protocols

table = manifest.read(Path(sys.argv[1]))
for protocol in protocols.served(table):
    print(protocol, protocols.default_valid(protocol, table))
END
  )
}

leave() { # the jobs stay with Slurm
  trap '' INT TERM
  ((${#calls[@]} == 0)) || kill -TERM "${calls[@]}" 2>/dev/null || true
  wait
  exit 130
}

wait_for_calls() {
  local call code=0
  for call in "${calls[@]}"; do
    wait "$call" || code=$?
  done
  calls=()
  ((code == 0)) || exit "$code"
}

# A table over the experiments, which are scored by then.
conclude() { # a module of local, its words
  wait_for_calls
  if (($(last_of stop-stage 5 "${options[@]}") < 4)); then
    echo "No table of $1: that needs stage 4 of every experiment."
    return
  fi
  (
    cd -- "$house" || exit
    . ./path.sh
    python -m "local.$1" "${@:2}"
  )
}
