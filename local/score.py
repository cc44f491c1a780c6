"""Stage 4: scores per fold and pooled, from predictions.csv alone: no torch, no GPU, seconds.

    python -m local.score OPTIONS

scores every fold and seed that has been decoded under the experiment's name, whichever this run
asked for, and writes `scores.json` in each run folder and folds.csv, summary.csv and RESULTS.md
beside the seeds. Rates are fractions; a WER may pass 1.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from local import audit, markers, metrics, predictions, protocols
from local.errors import UserError, exits
from local.files import atomic, digest
from local.options import Options, check, parse

LEAST_CLUSTERS = 4  # the fewest folds that a 95 % interval is drawn from
MOST_FAULTS = 5
SCORES = ("wa", "ua", "f1", "wer", "cer")
FOLD_COLUMNS = (
    *("name", "corpus", "protocol", "valid", "seed", "fold", "n"),
    *SCORES,
    *("epoch", "commit", "config"),
)


def score(options: Options) -> None:
    """Score an experiment and write its tables."""
    check(options, options.table())
    valid = options.chosen_valid()
    folds_folder = options.folds_folder(valid)
    known = sorted(markers.read(folds_folder / "folds.json")["facts"]["sizes"])
    rows, decoded = [], []
    for fold_folder in decoded_folders(options.experiment_folder):
        row, table = score_fold(options, valid, fold_folder, folds_folder)
        rows.append(row)
        decoded.append(table)
    if not rows:
        raise UserError(f"{options.experiment_folder} holds no predictions", "run stages 2 and 3 first")
    folds = pd.DataFrame(rows, columns=FOLD_COLUMNS)
    summary = summarise(folds, decoded, known)
    corpus = markers.read(options.corpus_folder / "all.json")["facts"]
    _write_csv(options.experiment_folder / "folds.csv", folds)
    _write_csv(options.experiment_folder / "summary.csv", summary)
    overlap = audit.in_words(audit.read_leaks(folds_folder / "leaks.csv"), folds["fold"].unique())
    text = results_page(options, valid, folds, summary, corpus, overlap)
    with atomic(options.experiment_folder / "RESULTS.md") as file:
        file.write(text)
    print(f"== stage 4: score {options.experiment_folder}\n\n{text}")


def decoded_folders(experiment_folder: Path) -> list[Path]:
    """The run folders that have been decoded, by seed and fold."""
    seeds = {int(path.name[4:]): path for path in experiment_folder.glob("seed*") if path.name[4:].isdecimal()}
    return [marker.parent for seed in sorted(seeds) for marker in sorted(seeds[seed].glob("*/decode.json"))]


def score_fold(options: Options, valid: str, folder: Path, folds_folder: Path) -> tuple[dict, pd.DataFrame]:
    """Score one run folder: its row of folds.csv, and its predictions.

    Raises
    ------
    UserError
        Its predictions are of another test part than the fold has now, or of another training
        than stands there, or it was validated otherwise.
    """
    fold, seed = folder.name, int(folder.parent.name.removeprefix("seed"))
    decoding, training = markers.read(folder / "decode.json"), markers.read(folder / "train.json")
    test = folds_folder / fold / "test.csv"
    if not test.exists() or decoding["inputs"]["test.csv"] != digest(test):
        raise UserError(
            f"{folder} holds predictions of another test part than {test}",
            "run stages 2 and 3 again with --force true, or take another --name",
        )
    if decoding["inputs"]["training"] != digest(folder / "train.json"):
        raise UserError(f"{folder} was trained anew after its predictions were made", "run stage 3 again")
    if training["inputs"]["valid"] != valid:
        trained = training["inputs"]["valid"]
        raise UserError(f"{folder} was trained with validation '{trained}', not '{valid}'", f"give --valid {trained}")
    for name in ("train.csv", "valid.csv"):
        part = folds_folder / fold / name
        if training["inputs"].get(name) != (digest(part) if part.exists() else None):
            raise UserError(f"{folder} was trained on another part than {part}", "take another --name, or --force true")
    table = predictions.read(folder / "predictions.csv")
    found = metrics.scores(table)
    with atomic(folder / "scores.json") as file:
        json.dump(found, file, indent=1)
    environment = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    row = {"name": options.name, "corpus": options.corpus, "protocol": options.protocol_name, "valid": valid}
    row |= {"seed": seed, "fold": fold, **found, "epoch": decoding["facts"]["epoch"], "commit": environment["commit"]}
    return row | {"config": training["facts"]["config"]}, table.assign(fold=fold)


def summarise(folds: pd.DataFrame, decoded: list[pd.DataFrame], known: list[str]) -> pd.DataFrame:
    """Make the one row of summary.csv.

    Parameters
    ----------
    folds
        folds.csv, one row per fold and seed.
    decoded
        The predictions behind its rows, with a column `fold`.
    known
        All folds of the protocol.

    Notes
    -----
    Pooled scores are over all predictions together (WA as the paper's: correct / n over all
    folds). `<score>_mean` and `_sd` are over folds, each the mean of its seeds. `_low` and `_high`
    are a 95 % percentile bootstrap over whole folds; they stay empty for fewer than
    four folds, which cannot bear one.
    """
    pooled = pd.concat(decoded, ignore_index=True)
    row = {name: folds[name].iloc[0] for name in ("name", "corpus", "protocol", "valid")}
    row |= metrics.scores(pooled)
    per_fold = folds.astype({name: float for name in SCORES}).groupby("fold")[list(SCORES)].mean()
    for name in SCORES:
        row |= {f"{name}_mean": per_fold[name].mean(), f"{name}_sd": per_fold[name].std(ddof=1)}
    row |= intervals(pooled)
    # A fold is present when every seed has it.
    whole = int((folds.groupby("fold")["seed"].nunique() == folds["seed"].nunique()).sum())
    row |= {"seeds": folds["seed"].nunique(), "folds": f"{whole}/{len(known)}"}
    return pd.DataFrame([row])


def intervals(pooled: pd.DataFrame) -> dict[str, float]:
    """95 % intervals of pooled WA and UA: percentile bootstrap (scipy) that draws whole folds."""
    hits = pooled["emo"] == pooled["emo_hyp"]
    counts = pd.crosstab(pooled["fold"], pooled["emo"]).to_numpy(float)
    correct = pd.crosstab(pooled["fold"], pooled["emo"], values=hits, aggfunc="sum").fillna(0).to_numpy(float)
    if len(counts) < LEAST_CLUSTERS:
        return dict.fromkeys(("wa_low", "wa_high", "ua_low", "ua_high"), np.nan)

    def accuracies(drawn: np.ndarray, axis: int) -> np.ndarray:
        """[resamples, folds] indices of folds -> [2, resamples] WA and UA."""
        right, all_ = correct[drawn].sum(-2), counts[drawn].sum(-2)
        with np.errstate(invalid="ignore"):
            recalls = right / all_
        return np.stack([right.sum(-1) / all_.sum(-1), np.nanmean(recalls, axis=-1)])

    drawn = bootstrap((np.arange(len(counts)),), accuracies, axis=-1, method="percentile", rng=np.random.default_rng(1))
    (wa_low, ua_low), (wa_high, ua_high) = drawn.confidence_interval
    return {"wa_low": wa_low, "wa_high": wa_high, "ua_low": ua_low, "ua_high": ua_high}


def results_page(
    options: Options, valid: str, folds: pd.DataFrame, summary: pd.DataFrame, corpus: dict, overlap: list[str]
) -> str:
    """Write RESULTS.md: the command, the protocol in words, what the parts share, the tables."""
    row = summary.iloc[0]
    lines = [
        f"# {options.name} on {options.corpus}, protocol {options.protocol_name}",
        "",
        f"    {command()}",
        "",
        f"- Corpus: {corpus['source']}.",
        *partial_note(corpus["faults"]),
        f"- Protocol `{options.protocol_name}`: {protocols.in_words(options.protocol, options.hold_text)}.",
        *(f"- Overlap: {line}." for line in overlap),
        f"- Validation `{valid}`: {protocols.VALID_WORDS[valid]}; the test part never does.",
        f"- Folds present: {row['folds']}; seeds: {row['seeds']}.",
    ]
    if row["folds"].split("/")[0] != row["folds"].split("/")[1]:
        lines.append(f"- **Means and pooled figures are over {row['folds']} folds only.**")
    lines += ["", "| seed | fold | n | WA | UA | F1 | WER | CER | epoch |", "|---|---|---|---|---|---|---|---|---|"]
    for _, fold in folds.iterrows():
        figures = " | ".join(percent(fold[name]) for name in SCORES)
        lines.append(f"| {fold['seed']} | {fold['fold']} | {fold['n']} | {figures} | {fold['epoch']} |")
    lines.append(
        f"| | **pooled, {row['folds']} folds** | {row['n']} | {' | '.join(percent(row[s]) for s in SCORES)} | |"
    )
    means = " | ".join(f"{percent(row[f'{s}_mean'])} ± {percent(row[f'{s}_sd'])}" for s in SCORES)
    lines.append(f"| | mean ± sd over folds | | {means} | |")
    bounds = " | ".join(f"{percent(row[f'{s}_low'])} to {percent(row[f'{s}_high'])}" for s in ("wa", "ua"))
    lines += [f"| | 95 % interval | | {bounds} | | | | |", ""]
    lines.append(
        "In per cent. WA: correct / n. UA: mean recall of the classes. F1: macro. WER, CER: all edits / all words, "
    )
    lines[-1] += "characters. Interval: percentile bootstrap over whole folds."
    return "\n".join(lines) + "\n"


def partial_note(faults: list[str]) -> list[str]:
    """Say that the corpus was not whole, if so, and what is amiss with it."""
    if not faults:
        return []
    shown = "; ".join(faults[:MOST_FAULTS]) + (" ..." if len(faults) > MOST_FAULTS else "")
    return [f"- **The corpus was partial:** {len(faults)} faults, all of them in `all.json`: {shown}"]


def percent(value: float | None) -> str:
    """Show a fraction in per cent with two digits, and a missing one as a dash."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.2f}"


def command() -> str:
    """The command line that the user typed, as run.sh tells it, or this module's own."""
    return os.environ.get("SER_MTL_COMMAND") or f"python -m local.score {shlex.join(sys.argv[1:])}"


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


@exits
def main() -> None:
    """Run stage 4."""
    score(parse())


if __name__ == "__main__":
    main()
