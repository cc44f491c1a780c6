"""Experiments compared pair by pair on the same utterances."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, combinations

import numpy as np
import pandas as pd

from local.core.counted import counted
from local.core.errors import UserError
from local.scoring import metrics, stats
from local.scoring.predictions import writes_text
from local.scoring.scored import Experiment

SCORES = ("wa", "ua", "wer")
MOST = 3  # experiments to name
TESTS = ("p_wa", "p_ua", "p_wer", "p_mcnemar", "p_matched_pairs")


def mismatch_reason(a: Experiment, b: Experiment) -> str:
    """Say why two experiments cannot be compared; empty if they can.

    They must have the same corpus, protocol, folds, test utterances and references, in every seed.
    """
    for what in ("corpus", "protocol"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            return f"{a.folder} is of {what} {one}, {b.folder} of {what} {other}"
    tables = [run.predictions.set_index(["fold", "ID"]).sort_index() for run in (a, b)]
    for run, predicted in zip((a, b), tables, strict=True):
        per_seed = predicted.groupby("seed").size()
        if per_seed.nunique() > 1:
            least = per_seed.idxmin()
            n = counted(per_seed[least], "utterance")
            return f"seed {least} of {run.folder} tested {n}, another {per_seed.max()}"
        if per_seed.max() < predicted.index.nunique():
            return f"the seeds of {run.folder} tested other folds than one another"
    tested = [table[~table.index.duplicated()] for table in tables]
    for here, there, one, other in ((a, b, *tested), (b, a, *tested[::-1])):
        missing = one.index.difference(other.index)
        if len(missing):
            fold, name = missing[0]
            n = counted(len(missing), "utterance")
            return f"{here.folder} tested {n} that {there.folder} did not: {name} of fold {fold}"
    for column, what in (("emo", "emotion"), ("wrd", "transcript")):
        differing = tested[0].index[tested[0][column].to_numpy() != tested[1][column].to_numpy()]
        if len(differing):
            return f"{a.folder} and {b.folder} have another reference {what} for {differing[0][1]}"
    return ""


def other_audio(experiments: Iterable[Experiment]) -> list[str]:
    """Say of which corpora not all experiments have trained on or tested the same audio, as far as they recorded it."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in experiments:
        for corpus, contents in each.audio.items():
            for digest in contents:
                found.setdefault(corpus, {}).setdefault(digest, []).append(str(each.folder))
    return [
        f"The audio files of {corpus} were not the same for all of these experiments: their digest is "
        f"{', '.join(f'{digest} for {_some(folders)}' for digest, folders in contents.items())}."
        for corpus, contents in found.items()
        if any({*folders} != {*chain(*contents.values())} for folders in contents.values())
    ]


def _some(folders: list[str]) -> str:
    more = [f"{len(folders) - MOST} more"] if len(folders) > MOST else []
    return " and ".join([*folders[:MOST], *more])


def compare(experiments: list[Experiment]) -> pd.DataFrame:
    """Compare all pairs, see `compare_pairs`; a `UserError` if two cannot be compared."""
    pairs = list(combinations(experiments, 2))
    for a, b in pairs:
        if reason := mismatch_reason(a, b):
            raise UserError(f"these cannot be compared: {reason}", "give experiments on the same folds and manifests")
    return compare_pairs(pairs)


def compare_pairs(pairs: list[tuple[Experiment, Experiment]]) -> pd.DataFrame:
    """Compare pairs that `mismatch_reason` allows.

    Returns a row per pair: `a`, `b`, `corpus`, `protocol`, `valid_a`, `valid_b`, `n` (utterances), `cluster`,
    `clusters`, `speakers_known`, `speaker_overlap`; for each of `SCORES` the values of both, the difference B - A with
    its interval; the p values of `TESTS`, each also as `<test>_holm`. McNemar's test takes one seed
    on either side: with more its p is missing. Without transcripts of both, all of WER is. So are WA and UA where the
    emotion head of one was not trained (then `untrained_a` or `untrained_b` is 1), and WER where the CTC head of one
    was not (`untrained_text_a`, `untrained_text_b`): Holm's correction does not count them. Of models that were not
    trained here also `missing_a` or `missing_b`, their utterances without a prediction. `certainty_a` and `certainty_b`
    are what is known of the specification of a system that is somebody else's, `weights_a` and `weights_b` what a
    system was pretrained on, or what it lacks, `other_audio` what `other_audio` says of both; missing where there is
    nothing to say.
    """
    table = pd.DataFrame([_row(a, b) for a, b in pairs])
    return table.assign(**{f"{test}_holm": stats.holm(table[test]) for test in TESTS if pairs})


def _row(a: Experiment, b: Experiment) -> dict:
    cluster, kind = stats.clusters(a.predictions)
    row = {"a": a.name, "b": b.name, "corpus": a.corpus, "protocol": a.protocol, "valid_a": a.valid, "valid_b": b.valid}
    row |= {"n": a.predictions["ID"].nunique(), "cluster": kind, "clusters": cluster.nunique()}
    known = b if b.trained_here else a  # of one corpus and protocol; a foreign model's training speakers are not known
    row |= {name: known.summary[name] for name in ("speakers_known", "speaker_overlap")}
    row |= {f"missing_{side}": run.summary["missing"] for side, run in (("a", a), ("b", b)) if not run.trained_here}
    for side, run in (("a", a), ("b", b)):
        row |= {f"{key}_{side}": run.about[key] for key in ("certainty", "weights") if run.about[key]}
    row |= {"other_audio": " ".join(said)} if (said := other_audio([a, b])) else {}
    differences = stats.differences(a.predictions, b.predictions)
    emotions = a.emotions_trained and b.emotions_trained
    text = a.transcripts_trained and b.transcripts_trained
    row |= {f"untrained_{side}": 1 for side, run in (("a", a), ("b", b)) if not run.emotions_trained}
    row |= {f"untrained_text_{side}": 1 for side, run in (("a", a), ("b", b)) if not run.transcripts_trained}
    for score in SCORES:
        if not (text if score == "wer" else emotions):  # chance is no result to compare with
            row |= dict.fromkeys((f"{score}{of}" for of in ("_a", "_b", "_diff", "_diff_low", "_diff_high")), np.nan)
            row[f"p_{score}"] = np.nan
            continue
        difference = differences[score]
        values = (a.summary[score], b.summary[score])
        values = values if all(map(pd.notna, values)) else (np.nan, np.nan)  # a WER of one alone is not compared
        row |= {f"{score}_a": values[0], f"{score}_b": values[1], f"{score}_diff": difference.estimate}
        row |= {f"{score}_diff_low": difference.low, f"{score}_diff_high": difference.high, f"p_{score}": difference.p}
    (right_a, errors_a), (right_b, errors_b) = _per_utterance(a), _per_utterance(b)
    one_seed = a.summary["seeds"] == b.summary["seeds"] == 1
    row["p_mcnemar"] = stats.mcnemar(right_a == 1, right_b == 1) if one_seed and emotions else np.nan
    spoken = ~np.isnan(errors_a) & ~np.isnan(errors_b)
    row["p_matched_pairs"] = stats.matched_pairs(errors_a[spoken], errors_b[spoken]) if text else np.nan
    return row


def _per_utterance(run: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Share of seeds that are right, and word errors (mean over seeds; nan without a transcript), by fold and ID."""
    table = run.predictions
    errors = metrics.counted_edits(table)["word_edits"].where((table["wrd"] != "") & writes_text(table))
    columns = table.assign(right=table["emo"] == table["emo_hyp"], errors=errors)
    means = columns.groupby(["fold", "ID"])[["right", "errors"]].mean()
    return means["right"].to_numpy(float), means["errors"].to_numpy(float)
