#!/usr/bin/env bash
# What is a protocol worth? One system under every protocol of a corpus, and every way to choose the epoch.
#
#   recipes/price_of_a_protocol.sh --corpus C [--data PATH] [options of run.sh] [-- overrides of the YAML]
#
# Protocols speaker, session, recording and random; with each, its own validation set, none (the last epoch is taken)
# and oracle (the test set itself chooses the epoch). All else is equal. The table has WA and UA with their intervals,
# also in points above or below protocol speaker with its own validation, the honest figure on speakers who are not in
# the training set. Protocols that the corpus does not serve are named. What random and oracle give is OPTIMISTIC, and
# named so in every path and on every page: here it is measured, and is good for nothing else.
#
# The system is that of --hparams FILE; by default the cheapest, statistics.yaml. The experiments are price_<YAML>, and
# price_<YAML>_valid_none without validation; your --name replaces price_<YAML>. Of your --protocol P or --valid V, only
# that one is run. All folds are run unless you give --folds.
#
# The table and the picture: results/<corpus>/price_<YAML>.md and .svg
#
# What came of it: not run yet.
set -euo pipefail
# shellcheck source=local/shell/recipe_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/shell/recipe_options.sh"
take_words "" "$@"

words=(--hparams "$house/hparams/statistics.yaml" --folds all)
yaml=$(basename -- "$(last_of hparams "${words[@]:1:1}" "${options[@]}")")
name=$(last_of name "price_${yaml%.*}" "${options[@]}")
corpus=$(corpus_name "${options[@]}")
if [[ $(last_of stage 0 "${options[@]}") == 0 ]]; then # every corpus serves random
  "$house/run.sh" "${words[@]}" "${options[@]}" --protocol random --stage 0 --stop-stage 0 -- "${overrides[@]}"
fi
known=$(served "$corpus")
for protocol in $(last_of protocol "speaker session recording random" "${options[@]}"); do
  own=$(sed -n "s/^$protocol //p" <<<"$known")
  [[ -n $own ]] || continue
  choices="own none oracle"
  if [[ $own == none ]]; then choices="own oracle"; fi
  for valid in $(last_of valid "$choices" "${options[@]}"); do
    case $valid in
      own) experiment "$name" "${words[@]}" --protocol "$protocol" -- ;;
      oracle) experiment "$name" "${words[@]}" --protocol "$protocol" --valid oracle -- ;;
      *) experiment "${name}_valid_$valid" "${words[@]}" --protocol "$protocol" --valid "$valid" -- ;;
    esac
  done
done
conclude compare "${experiments[@]}" --protocols --out "results/$corpus/$name.md"
