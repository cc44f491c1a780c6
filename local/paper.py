"""The paper's printed figures as data, and ours beside them.

    python -m local.paper {table3,table4,figure2} EXPERIMENT_FOLDER... [--out FILE]

prints a Markdown table, and writes it with `--out`. The paper: Cai, Yuan, Zheng, Huang, Church: Speech
Emotion Recognition with Multi-task Learning, Interspeech 2021; its slides and released code.

All figures are fractions. Its own are of the protocol `recording`, which is what its released lists do
(its text says "leave one speaker out"), and of the test lists, which are its only evaluation lists.
Accuracy is pooled WA, and WER the mean of the folds' WERs, so that ours is `wer_mean`, not the pooled
one. A row holds both only where ours is of all these utterances under this protocol; whatever else we
have stands in rows of its own.
"""

from __future__ import annotations

import shlex
import sys
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic
from local.corpora.iemocap import FACTS
from local.scoring.scored import Experiment, load

PROTOCOL = "recording"
OWN_PROTOCOL = "recording, on the test lists"
ALPHA = 0.1  # of the paper's row in Table 3
FIGURE_2_FOLD = "04M"
DASH = "–"
HIGHEST = "highest"
OUR_RUN = ["our run", "our protocol", "validation", "folds", "seeds"]
OUR_FIGURES = ["our WA", "95 % interval", "our mean of folds' WER"]
POINTS = ["WA, points", "WER, points"]
# Our half of Figure 2, by its columns in epochs.csv.
OUR_CURVES = {
    "valid_wa": "our WA on the validation part",
    "valid_wer": "our WER on the validation part",
    "train_wa": "our WA on the training part",
}


class System(NamedTuple):
    """A row of Table 3."""

    system: str
    protocol: str
    accuracy: float
    measure: str = "the higher of WA and UA"


class Figures(NamedTuple):
    """What the paper prints of one alpha."""

    accuracy: float
    wer: float
    source: str


# Table 3. It lists one accuracy for each system, whatever that system's paper measured.
TABLE_3 = (
    System("Wu 2019: capsule network", "10-fold", 0.7273),
    System("Sajjad 2020: ResNet-101, bi-LSTM", "5-fold", 0.7225),
    System("Lu 2020: pretrained ASR, bi-LSTM, attention", "10-fold", 0.726),
    System("Liu 2020: local and global", "5-fold", 0.7078),
    System("Wang 2020: dual-sequence LSTM", "5-fold, random utterances", 0.733),
    System("Pappagari 2020: ResNet x-vector", "5-fold", 0.7030, "weighted F1"),
    System("Peng 2020: 3D convolution, ASRNN", "5-fold", 0.626),
    System("ours in the paper", f"10-fold, {OWN_PROTOCOL}", 0.7815, "pooled WA"),
)

TABLE_4 = {
    0.0: Figures(0.7166, 0.9981, "Table 4"),
    0.001: Figures(0.7397, 0.2233, "Table 4"),
    0.01: Figures(0.7634, 0.2007, "Table 4"),
    0.1: Figures(0.7815, 0.1929, "Table 4"),
    1.0: Figures(0.7735, 0.1877, "slides"),
}

# Figure 2, read off the drawing: one run of fold 04M of `recording`, on its test list. {alpha: {epoch: value}}.
FIGURE_2_EPOCHS = (5, 10, 15, 20, 30, 50, 75, 100)
FIGURE_2_ACCURACY = {
    0.0: dict(zip(FIGURE_2_EPOCHS, (0.552, 0.611, 0.649, 0.686, 0.669, 0.682, 0.688, 0.697), strict=True)),
    0.001: dict(zip(FIGURE_2_EPOCHS, (0.563, 0.510, 0.617, 0.611, 0.644, 0.707, 0.739, 0.739), strict=True)),
    0.01: dict(zip(FIGURE_2_EPOCHS, (0.582, 0.649, 0.653, 0.667, 0.757, 0.736, 0.759, 0.753), strict=True)),
    0.1: dict(zip(FIGURE_2_EPOCHS, (0.333, 0.538, 0.653, 0.695, 0.745, 0.749, 0.759, 0.778), strict=True)),
}
FIGURE_2_WER = {
    0.0: dict.fromkeys(FIGURE_2_EPOCHS, 0.998),
    0.001: dict.fromkeys((5, 10, 15, 20), 1.0) | {30: 0.559, 40: 0.217, 100: 0.137},
    0.01: {5: 1.0, 10: 0.540, 20: 0.187, 100: 0.121},
    0.1: {1: 1.0, 5: 0.805, 10: 0.225, 12: 0.204, 30: 0.152, 100: 0.114},
}
FIGURE_2_HIGHEST = {0.0: 0.718, 0.001: 0.755, 0.01: 0.772, 0.1: 0.787}  # accuracy, at whichever epoch

# How the paper trains: value and where it says so. Its lr depends on alpha, see `differences`.
TRAINING = {
    "encoder": ("facebook/wav2vec2-base", "text"),
    "freeze": (False, "code"),
    "freeze_cnn": (False, "code"),
    "pooling": ("mean", "code"),
    "token_type": ("char", "text"),
    "epochs": (100, "Table 1"),
    "batch_size": (8, "Table 1"),
    "warmup": (0.1, "Table 1"),
}

NOTES = {  # what must be known to read a table
    "table3": (
        "The others' figures are as Table 3 lists them, for each the higher of WA and UA; Pappagari's is a weighted "
        "F1, and Wang's folds are of random utterances. Their protocols are not ours.",
        "The paper's own folds are `recording`: both actors of a tested recording are heard in training. "
        "Its epochs were evaluated on the test lists, as it has no validation list.",
    ),
    "table4": (
        "The paper's folds are `recording`: both actors of a tested recording are heard in training. "
        "Its epochs were evaluated on the test lists, as it has no validation list. Alpha 1 is from its slides.",
        "WA is pooled: correct / n over all folds. WER is the mean of the folds' WERs, as the paper's, not the "
        "pooled one of RESULTS.md. With alpha 0 nothing trains the CTC head.",
    ),
    "figure2": (
        f"The paper's points are read off the drawing: one run of fold {FIGURE_2_FOLD} of `recording`, on its test "
        "list. Ours are on the validation part, other utterances, and on the training part: the two are different "
        "things, and their shapes may be compared, not their figures. Our test part is decoded once, at the end.",
        f"A run without validation (`none`) has training figures only; one without fold {FIGURE_2_FOLD} has none.",
    ),
}


def figure2_points() -> pd.DataFrame:
    """The points of Figure 2: columns alpha, epoch, accuracy, wer; nan where only the other was read off."""
    rows = [
        (alpha, epoch, accuracy.get(epoch, nan), FIGURE_2_WER[alpha].get(epoch, nan))
        for alpha, accuracy in FIGURE_2_ACCURACY.items()
        for epoch in sorted({*accuracy, *FIGURE_2_WER[alpha]})
    ]
    return pd.DataFrame(rows, columns=["alpha", "epoch", "accuracy", "wer"])


def mismatch_reason(table: str, experiment: Experiment) -> str:
    """Say why an experiment may not stand beside the paper's figures of a table; empty if it may.

    Parameters
    ----------
    table
        `table3`, `table4` or `figure2`.
    experiment
        The experiment: of whole folds of IEMOCAP under the paper's protocol, and with an alpha of the table's.
    """
    if experiment.corpus != "iemocap":
        return f"its corpus is {experiment.corpus}"
    if experiment.protocol != PROTOCOL:
        return f"its protocol is `{experiment.protocol}`"
    folds = [FIGURE_2_FOLD] if table == "figure2" else list(FACTS.folds)
    for _, of_seed in experiment.folds.groupby("seed"):
        sizes = dict(zip(of_seed["fold"], of_seed["n"], strict=True))
        if missing := [fold for fold in folds if fold not in sizes]:
            return f"it has {experiment.summary['folds']} folds and lacks {' '.join(missing)}"
        for fold in folds:
            if sizes[fold] != FACTS.folds[fold]:
                return f"its corpus was partial: fold {fold} tests {sizes[fold]} of {FACTS.folds[fold]} utterances"
    alphas = {"table3": [ALPHA], "table4": TABLE_4, "figure2": FIGURE_2_ACCURACY}[table]
    return "" if alpha_of(experiment) in alphas else f"the paper's {table} has no alpha {alpha_of(experiment):g}"


def alpha_of(experiment: Experiment) -> float:
    """The weight of the CTC task in an experiment's resolved YAML.

    Raises
    ------
    UserError
        Its system has none.
    """
    if "alpha" not in experiment.values:
        raise UserError(f"{experiment.folder}: its YAML has no alpha", "give experiments of the multi-task system")
    return float(experiment.values["alpha"])


def differences(values: dict[str, Any]) -> list[str]:
    """Name what the values of a YAML have otherwise than the paper: `epochs 30 (Table 1: 100)`."""
    rate = 1e-5 if values.get("alpha") == 0 else 5e-5
    paper = TRAINING | {"lr": (rate, "Table 1"), "head_lr": (rate, "Table 1")}
    return [
        f"{key} {_shown(values.get(key))} ({source}: {value})"
        for key, (value, source) in paper.items()
        if values.get(key) != value
    ]


def _shown(value: Any) -> str:
    """A value of a YAML in a word or two: an encoder's folder by its name, one made on the spot by its kind."""
    if isinstance(value, dict):
        return f"{value.get('model_type')} from random weights"
    return Path(value).name if isinstance(value, str) else str(value)


def label(experiment: Experiment) -> str:
    """An experiment as its path below results names it."""
    return f"`{experiment.corpus}/{experiment.protocol}/{experiment.name}`"


def _parted(table: str, experiments: list[Experiment]) -> tuple[list[Experiment], list[Experiment]]:
    """Part experiments into those that may stand beside the paper's figures, and the others."""
    beside, others = [], []
    for experiment in experiments:
        (others if mismatch_reason(table, experiment) else beside).append(experiment)
    return beside, others


def _our_run(experiment: Experiment) -> dict[str, Any]:
    """Which run of ours a row is of."""
    row = experiment.summary
    facts = label(experiment), experiment.protocol, experiment.valid, row["folds"], str(row["seeds"])
    return dict(zip(OUR_RUN, facts, strict=True))


def _ours(experiment: Experiment) -> dict[str, Any]:
    """Our half of a row of Table 3 or 4."""
    row = experiment.summary
    low, high = (row.get(name, nan) for name in ("wa_low", "wa_high"))
    interval = DASH if pd.isna(low) else f"{_cell(low)} to {_cell(high)}"
    return _our_run(experiment) | dict(zip(OUR_FIGURES, (row["wa"], interval, row["wer_mean"]), strict=True))


def _beside(printed: dict[str, Any], paper: Figures, experiments: list[Experiment]) -> list[dict[str, Any]]:
    """A printed row with each experiment, and ours less the paper's; the row alone where there is none."""
    rows = []
    for experiment in experiments:
        less = experiment.summary["wa"] - paper.accuracy, experiment.summary["wer_mean"] - paper.wer
        signed = (DASH if pd.isna(value) else f"{100 * value:+.2f}" for value in less)
        rows.append(printed | _ours(experiment) | dict(zip(POINTS, signed, strict=True)))
    return rows or [printed]


def table3(experiments: list[Experiment]) -> pd.DataFrame:
    """Table 3: ours beside the paper's own row where they may be, the others below the table."""
    beside, others = _parted("table3", experiments)
    printed = [row._asdict() for row in TABLE_3]
    rows = printed[:-1] + _beside(printed[-1], TABLE_4[ALPHA], beside) + [_ours(other) for other in others]
    return pd.DataFrame(rows, columns=[*System._fields, *OUR_RUN, *OUR_FIGURES[:2], POINTS[0]])


def table4(experiments: list[Experiment]) -> pd.DataFrame:
    """Table 4, by alpha: ours that may be beside the paper's figure, then those that may not."""
    paper = ["paper's protocol", "source", "paper's WA", "paper's WER"]
    rows = []
    for alpha in sorted({*TABLE_4, *map(alpha_of, experiments)}):
        key = {"alpha": f"{alpha:g}"}
        beside, others = _parted("table4", [one for one in experiments if alpha_of(one) == alpha])
        if alpha in TABLE_4:
            figures = TABLE_4[alpha]
            printed = zip(paper, (OWN_PROTOCOL, figures.source, figures.accuracy, figures.wer), strict=True)
            rows += _beside(key | dict(printed), figures, beside)
        rows += [key | _ours(other) for other in others]
    return pd.DataFrame(rows, columns=["alpha", *paper, *OUR_RUN, *OUR_FIGURES, *POINTS])


def figure2(experiments: list[Experiment]) -> pd.DataFrame:
    """Figure 2, by alpha and epoch: ours that may be beside the paper's points, then those that may not.

    An experiment that has not the figure's fold has no row.
    """
    highest = [(alpha, HIGHEST, accuracy, nan) for alpha, accuracy in FIGURE_2_HIGHEST.items()]
    points = figure2_points().astype({"epoch": object})
    points = pd.concat([points, pd.DataFrame(highest, columns=points.columns)]).assign(protocol=OWN_PROTOCOL)
    parts = []
    for alpha in sorted({*FIGURE_2_ACCURACY, *map(alpha_of, experiments)}):
        here = [one for one in experiments if alpha_of(one) == alpha and FIGURE_2_FOLD in set(one.folds["fold"])]
        beside, others = _parted("figure2", here)
        printed = points[points["alpha"] == alpha]
        parts += [printed.merge(_our_curve(one), how="left", on="epoch").assign(**_our_run(one)) for one in beside]
        parts += [] if beside else [printed]
        for other in others:
            curve = _our_curve(other)
            curve = curve[curve["epoch"].isin([*FIGURE_2_EPOCHS, HIGHEST])]
            parts.append(curve.assign(alpha=alpha, **_our_run(other)))
    paper = ["paper's protocol", "paper's WA on the test list", "paper's WER on the test list"]
    heads = dict(zip(("protocol", "accuracy", "wer"), paper, strict=True)) | OUR_CURVES
    table = pd.concat(parts).rename(columns=heads)
    table["alpha"] = table["alpha"].map("{:g}".format)
    return table.reindex(columns=["alpha", "epoch", *paper, *OUR_RUN, *OUR_CURVES.values()])


def _our_curve(experiment: Experiment) -> pd.DataFrame:
    """The figures of `OUR_CURVES` by epoch, mean over seeds, and below them the highest accuracies."""
    epochs = experiment.epochs[experiment.epochs["fold"] == FIGURE_2_FOLD].groupby("epoch")[[*OUR_CURVES]].mean()
    epochs.loc[HIGHEST] = epochs.max().where(epochs.columns != "valid_wer")
    return epochs.rename_axis("epoch").reset_index()


TABLES = {"table3": table3, "table4": table4, "figure2": figure2}


def render_table(which: str, experiments: list[Experiment], command: str) -> str:
    """Set a table into Markdown, with the command that made it and what must be known to read it."""
    table = TABLES[which](experiments)
    rows = [list(table.columns), *([_cell(value) for value in row] for row in table.itertuples(index=False))]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(table.columns))
    notes = [*NOTES[which], "Figures in per cent, differences (ours less the paper's) in points."]
    for experiment in experiments:
        if reason := mismatch_reason(which, experiment):
            notes.append(f"{label(experiment)} is not beside the paper's figures: {reason}.")
        if found := differences(experiment.values):
            notes.append(f"{label(experiment)} differs from the paper in: {', '.join(found)}.")
    return "\n".join([f"    {command}", "", *lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _cell(value: Any) -> str:
    """Show a fraction in per cent, what is missing as a dash, and words as they are."""
    if pd.isna(value):
        return DASH
    return f"{100 * value:.2f}" if isinstance(value, float) else str(value)


@as_command
def main() -> None:
    """Print a table, and write it."""
    parser = Parser(prog="python -m local.paper", description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("folders", nargs="+", type=Path, metavar="EXPERIMENT_FOLDER")
    parser.add_argument("--out", type=Path, metavar="FILE")
    given = parser.parse_args()
    command = f"python -m local.paper {shlex.join(sys.argv[1:])}"
    text = render_table(given.table, [load(folder) for folder in dict.fromkeys(given.folders)], command)
    if given.out:
        with atomic(given.out) as file:
            file.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
