# shellcheck shell=bash
# What the recipes share. A recipe's options and overrides come first and the user's after them, so that
# the user's win: of a repeated one, run.sh takes the last.

running=""     # the process of run.sh that is waited for
with_recipe=() # on Linux, what has run.sh end when the recipe is killed
if setpriv --pdeathsig TERM true 2>/dev/null; then with_recipe=(setpriv --pdeathsig TERM); fi

unset CDPATH # with it, cd prints where it went
house=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
folders=()     # those that the recipe wants, whole paths
options=()     # of run.sh, the user's
overrides=()   # of the YAML, the user's
experiments=() # folders below results, as they are made
calls=()       # of run.sh, side by side, where Slurm does the work
called=()      # the folders of their experiments
failed=()      # the folders of experiments whose run.sh failed, of a recipe that goes on without them
taken=" "      # the keys of the user's overrides that fitted some YAML
declare -A asked=() # the values of the recipe's own options

take_words() { # the names of the folders that the recipe wants, the words of its command line
  local name names=$1
  shift
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 0
  fi
  for name in $names; do
    if [[ ! -d ${1:-} ]]; then
      refuse "$name is to be a folder, and '${1:-}' is none" \
        "recipes/${0##*/} $names [options of run.sh] [-- overrides of the YAML]"
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

# shellcheck disable=SC2034 # the recipes read asked
take_own() { # the names of the recipe's own options, which are none of run.sh's: from options to asked
  local names=" $1 " rest=() name
  set -- "${options[@]}"
  while (($#)); do
    name=${1%%=*}
    name=${name#--}
    name=${name//_/-}
    if [[ $1 != --* || $names != *" $name "* ]]; then
      rest+=("$1")
      shift
    elif [[ $1 == *=?* ]]; then
      asked[$name]=${1#*=}
      shift
    else
      [[ $# -ge 2 && $2 != --* && $1 != *= ]] || refuse "option --$name has no value" "--$name VALUE"
      asked[$name]=$2
      shift 2
    fi
  done
  options=("${rest[@]}")
}

has_key() { # YAML, key: whether it has it, or running.yaml, which completes every YAML
  [[ $2 =~ ^[A-Za-z0-9_]+$ ]] && grep -q "^$2:" "$1" "$house/hparams/running.yaml"
}

# For recipes over several YAMLs. What is solved in closed form has no epochs, whatever the others have.
fit_overrides() { # YAML, overrides: adds to overrides those whose keys it has
  local yaml=$1 key words
  shift
  while (($#)); do
    [[ $1 == --* ]] || refuse "stray word '$1' after --" "write overrides as -- --key value"
    key=${1%%=*}
    key=${key#--}
    key=${key//-/_}
    words=("$1")
    shift
    if [[ ${words[0]} != *=* && $# -ge 1 && $1 != --* ]]; then
      words+=("$1")
      shift
    fi
    if has_key "$yaml" "$key"; then
      taken+="$key "
      if [[ $key != epochs ]] || ! grep -q "^epochs: *0\b" "$yaml"; then overrides+=("${words[@]}"); fi
    fi
  done
}

refuse_unfitting() { # overrides: those that fitted no YAML
  local word key
  for word; do
    key=${word%%=*}
    key=${key#--}
    [[ $word != --* || $taken == *" ${key//-/_} "* ]] ||
      refuse "no YAML of these rows has the key '$key'" "a key of one of hparams/table3, or of hparams/running.yaml"
  done
}

python_here() { # words of python, in the folder of the project
  (
    cd -- "$house" || exit
    . ./path.sh || exit
    python "$@"
  )
}

has_module() { # of Python
  python_here -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"
}

refuse() { # what, remedy
  printf 'error: %s\n  try: %s\n' "$1" "$2" >&2
  exit 2
}

refuse_untrained_emotions() { # for recipes whose table is of these
  local weight
  weight=$(last_of emotion-weight 1 "${overrides[@]}")
  if [[ $weight =~ ^0+(\.0*)?$ ]]; then
    refuse "emotion_weight $weight trains no emotions, and the table of this recipe is of emotions" "leave it out"
  fi
}

refuse_untranscribed() { # the corpus as paths name it, for recipes that need transcripts
  [[ -e $house/manifests/$1/all.csv ]] || return 0 # stage 0 has not been run
  python_here - "$1" <<'END' || exit
import sys
from pathlib import Path

from local.core.errors import UserError, as_command
from local.corpora import manifest


@as_command
def main() -> None:
    corpus = sys.argv[1]
    if not manifest.read(Path(f"manifests/{corpus}/all.csv"))["wrd"].any():
        raise UserError(f"no utterance of {corpus} has a transcript, and this recipe needs them", "take a corpus that has")


main()
END
}

whole_path() { # a path that counts from the user's folder, or the name of something elsewhere
  if [[ -e $1 ]]; then echo "$(cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")"; else echo "$1"; fi
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
# recipe, unless it catches it. The name is the recipe's last word: a user's --name has gone into it. With --backend
# slurm all experiments are in the queue at once; the folds, which they share, are made by one at a time.
experiment() { # name, options of run.sh, --, overrides of the YAML
  local name=$1 words=() from to
  shift
  while [[ $1 != -- ]]; do
    words+=("$1")
    shift
  done
  words+=("${options[@]}")
  experiments+=("$(experiment_folder "${words[@]}" --name "$name")")
  if [[ $(last_of backend local "${words[@]}") == slurm ]]; then
    from=$(last_of stage 0 "${words[@]}") to=$(last_of stop-stage 5 "${words[@]}")
    trap leave INT TERM
    if [[ $from == [01] ]]; then
      "$house/run.sh" "${words[@]}" --name "$name" --stop-stage "$([[ $to == 0 ]] && echo 0 || echo 1)" "$@" \
        "${overrides[@]}" || return
      from=2
    fi
    if [[ $to != [01] ]]; then
      "${with_recipe[@]}" "$house/run.sh" "${words[@]}" --name "$name" --stage "$from" "$@" "${overrides[@]}" &
      calls+=("$!") called+=("${experiments[-1]}")
    fi
  else
    run_sh "${words[@]}" --name "$name" "$@" "${overrides[@]}"
  fi
}

# In the background, and waited for: a signal to the recipe reaches run.sh, whose jobs save and end. The traps stay: in
# a shell that was started with SIGINT ignored, as one in the background of a script is, bash gives back its default
# with `trap -`, and then takes no trap for it any more.
run_sh() { # words of run.sh
  local code=0
  trap 'end_recipe 129' HUP
  trap 'end_recipe 130' INT
  trap 'end_recipe 143' TERM
  "${with_recipe[@]}" "$house/run.sh" "$@" &
  running=$!
  wait "$running" || code=$?
  running=""
  return "$code"
}

end_recipe() { # exit code
  trap '' HUP INT TERM
  if [[ -n $running ]]; then
    kill -TERM "$running" 2>/dev/null || true
    wait "$running" || true
  fi
  exit "$1"
}

experiment_folder() { # options of run.sh
  local protocol oracle="" corpus tested
  protocol=$(last_of protocol speaker "$@")
  if [[ $(last_of valid "" "$@") == oracle ]]; then oracle=-valid_oracle; fi
  if [[ $protocol == random || -n $oracle ]]; then protocol+=$oracle-OPTIMISTIC; fi
  if [[ $(last_of hold-text false "$@") == [Tt][Rr][Uu][Ee] ]]; then protocol+=-hold_text; fi
  corpus=$(corpus_name "$@") tested=$(last_of test-corpus "" "$@")
  if [[ -n $tested ]]; then # its models, tested on another
    if [[ $corpus == *@* && $tested != *@* ]]; then tested+=@${corpus#*@}; fi
    protocol=from_$corpus@$protocol corpus=$tested
  fi
  echo "results/$corpus/$protocol/$(last_of name "" "$@")"
}

# Options of run.sh: the corpus as paths name it, the user's own data as local.corpora.own_name does, and with the map of
# labels.
corpus_name() {
  local corpus mapped labels data
  IFS=@ read -r corpus mapped <<<"$(last_of corpus mini "$@")"
  if [[ $corpus == csv || $corpus == folder ]]; then
    data=$(last_of data "" "$@")
    if [[ -d $data ]]; then
      data=$(cd -- "$data" && pwd) corpus=${data##*/}
    else
      corpus=${data##*/} corpus=${corpus%.*}
    fi
  fi
  labels=$(last_of labels "$mapped.yaml" "$@")
  labels=${labels##*/} labels=${labels%.*}
  echo "${corpus// /+}${labels:+@$labels}"
}

# Stage 0, where the options ask for it, and then the protocol among them: its default hangs on the table.
settle_protocol() {
  if [[ $(last_of stage 0 "${options[@]}") == 0 ]]; then
    run_sh "${options[@]}" --stage 0 --stop-stage 0 -- "${overrides[@]}"
  fi
  if [[ -z $(last_of protocol "" "${options[@]}") ]]; then
    options+=(--protocol "$("$house/local/shell/default_protocol.sh" "${options[@]}")")
  fi
}

# Of a corpus that stage 0 has examined, a line each: a protocol that it serves, and that protocol's own validation.
served() { # the corpus as paths name it
  python_here - "manifests/$1/all.csv" <<'END'
import sys
from pathlib import Path

from local.core.errors import as_command
from local.corpora import manifest
from local.splits import protocols


@as_command
def main() -> None:
    table = manifest.read(Path(sys.argv[1]))
    for protocol in protocols.served(table):
        print(protocol, protocols.default_valid(protocol, table))


main()
END
}

leave() { # the jobs stay with Slurm
  trap '' INT TERM
  ((${#calls[@]} == 0)) || kill -TERM "${calls[@]}" 2>/dev/null || true
  wait
  exit 130
}

wait_for_calls() { # the exit code is that of the last that failed
  local at code=0
  for at in "${!calls[@]}"; do
    wait "${calls[at]}" || {
      code=$?
      failed+=("${called[at]}")
    }
  done
  calls=() called=()
  return "$code"
}

# A table over the experiments, which are scored by then.
conclude() { # a module of local, its words
  wait_for_calls || exit
  if (($(last_of stop-stage 5 "${options[@]}") < 4)); then
    echo "No table of $1: that needs stage 4 of every experiment."
    return
  fi
  python_here -m "local.$1" "${@:2}"
}

# The exit code of a recipe that went on without what failed.
report_failed() {
  local folder log
  for folder in "${failed[@]}"; do
    echo "error: ${folder##*/} failed; its messages are above" >&2
    for log in "$house/$folder"/seed*/*/{train,decode}.log; do # those that this recipe has written to
      if [[ -e $log && -n $(find "$log" -mmin "-$((SECONDS / 60 + 1))") &&
        $(tail -n 1 -- "$log") != "# Ended (code 0)"* ]]; then echo "  see ${log#"$house"/}" >&2; fi
    done
  done
  ((${#failed[@]} == 0))
}
