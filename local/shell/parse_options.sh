# shellcheck shell=bash
# parse_options "$@" checks the form of run.sh's options before anything is set up, and sets
#   stage, stop_stage   the first and the last stage
#   status              true if only the state of the jobs is asked for
#   options             the other options, and the overrides after --, as every stage takes them
# The options are those in the help of run.sh, with the placeholders of their values: a relative PATH or FILE
# counts from the user's current folder, $caller, and a FILE must exist. What options mean is checked by
# local/experiment/command_line.py, in whichever stage runs first.

# shellcheck disable=SC2034 # used by run.sh
stage=0 stop_stage="" status=false options=()
corpus="" data="" hparams="" stress=""

usage_error() { # what, remedy
  printf 'error: %s\n  try: %s\n' "$1" "$2" >&2
  exit 2
}

print_help() { # the words that follow; of a corpus, if one is named before or behind
  while (($#)); do
    case $1 in
      --corpus=*) corpus=${1#*=} ;;
      --corpus) corpus=${2:-} ;;
    esac
    shift
  done
  if [[ -n $corpus ]]; then
    exec python3 -m local.corpora "$corpus"
  fi
  sed -n '2,/^$/s/^# \{0,1\}//p' run.sh
  exit 0
}

parse_options() {
  local name value
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) ||
    usage_error "this is bash $BASH_VERSION, and 4.4 is the least" "install a newer bash (brew install bash)"
  while (($#)); do
    case $1 in
      --)
        options+=("$@")
        break
        ;;
      --help | -h) print_help "${@:2}" ;;
      --status)
        status=true
        shift
        continue
        ;;
      --?*) ;;
      *) usage_error "stray word '$1'" "./run.sh --help; overrides of the YAML come after a lone --" ;;
    esac
    name=${1%%=*}
    name=${name#--}
    name=${name//_/-}
    if [[ $1 == *=* ]]; then
      value=${1#*=}
      shift
    else
      # A value may not look like an option: a forgotten one would swallow the next option.
      [[ $# -ge 2 && $2 != --* ]] || no_value "$name"
      value=$2
      shift 2
    fi
    [[ -n $value ]] || no_value "$name"
    take_option "$name" "$value"
  done
  [[ -z $data || -n $corpus || $status == true ]] || usage_error "--data is given without its --corpus" \
    "--corpus csv for a table of your own, folder for one of audio, or a name of manifests/CORPORA.md"
  : "${corpus:=mini}"
  [[ -z $data || -e $data || $corpus == mini ]] ||
    usage_error "--data $data: there is no such file or folder" "give the path of the corpus"
  : "${stop_stage:=$((stage > 5 ? stage : 5))}" # stages 6 and 7, export and stress, run on request only
  [[ $status == true || -z $stress ]] || ((stop_stage >= 7)) ||
    usage_error "--stress '$stress' is of stage 7, which is not asked for" "./run.sh ... --stage 7 --stress '$stress'"
  ((stop_stage >= stage)) || usage_error "--stop-stage $stop_stage comes before --stage $stage" "give --stop-stage $stage or more"
}

no_value() { # name
  if [[ ! $1 =~ ^[a-z-]+$ ]] || ! grep -q "^#   --$1 " run.sh; then unknown_option "$1" VALUE; fi
  usage_error "option --$1 has no value" "--$1 VALUE"
}

unknown_option() { # name, value
  local key=${1//-/_}
  [[ ! $key =~ ^[A-Za-z0-9_]+$ ]] || ! grep -qs "^$key:" hparams/*.yaml hparams/table3/*.yaml "$hparams" ||
    usage_error "--$1 is no option of run.sh but a key of the YAML: it comes after a lone --" "./run.sh ... -- --$1 $2"
  usage_error "unknown option '--$1'" "./run.sh --help"
}

take_option() { # name, value
  local kind="" value=$2
  [[ ! $1 =~ ^[a-z-]+$ ]] || kind=$(sed -n "s/^#   --$1 \([^ ]\{1,\}\).*/\1/p" run.sh)
  case $kind in
    "") unknown_option "$1" "$2" ;;
    PATH | FILE)
      [[ $value == /* ]] || value=${caller:?}/$value
      [[ $kind == PATH || -f $value ]] ||
        usage_error "--$1 $2: there is no such file$([[ $2 == /* ]] || echo " in ${caller:?}")" "./run.sh --help"
      ;;
  esac
  case $1 in
    stage | stop-stage)
      [[ $2 =~ ^[0-7]$ ]] || usage_error "--$1 '$2' is not a stage" "take 0 to 7"
      printf -v "${1/-/_}" %d "$2"
      return
      ;;
    corpus | data | hparams | stress) printf -v "$1" %s "$value" ;;
  esac
  options+=("--$1" "$value")
}
