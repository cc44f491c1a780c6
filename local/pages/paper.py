"""The paper's printed figures (`paper.yaml`), and ours beside them.

A row holds both only where ours is of all the paper's utterances under its protocol, `recording`; all else that we
have gets rows of its own. Accuracy is pooled WA. WER is the mean of the folds' WERs, so that ours is `wer_mean`,
not the pooled one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from local.core.errors import UserError
from local.corpora.iemocap import FACTS
from local.pages.markdown import percent, prose, signed
from local.pages.tables import Table, columns, interval
from local.scoring.scored import Experiment, common_epochs
from local.splits import naming

PAPER = yaml.safe_load(Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8"))
FIGURE_2_FOLD = PAPER["figure2_fold"]
OWN_PROTOCOL = f"{PAPER['protocol']}, on the test lists"
HIGHEST = "highest"
OUR_RUN = columns(["our experiment", "our protocol", "validation", "folds"], ["seeds"])
OUR_CURVES = {  # by column of epochs.csv
    "valid_wa": "our WA on the validation set",
    "valid_wer": "our WER on the validation set",
    "train_wa": "our WA on the training set",
}


def mismatch_reason(table: str, experiment: Experiment) -> str:
    """Say why an experiment may not share a row with the paper's figures of a table (of `TABLES`); empty if it may.

    It may if it is of whole folds of IEMOCAP under the paper's protocol, with an alpha of that table.
    """
    if experiment.corpus != "iemocap":
        return f"its corpus is {experiment.corpus}"
    if naming.without_oracle(experiment.protocol) != PAPER["protocol"]:  # its epochs may be of the test lists too
        return f"its protocol is `{experiment.protocol}`"
    folds = [FIGURE_2_FOLD] if table == "figure2" else list(FACTS.folds)
    for _, of_seed in experiment.folds.groupby("seed"):
        sizes = dict(zip(of_seed["fold"], of_seed["n"], strict=True))
        if missing := [fold for fold in folds if fold not in sizes]:
            return f"it has {experiment.summary['folds']} folds and lacks {' '.join(missing)}"
        for fold in folds:
            if sizes[fold] != FACTS.folds[fold]:
                return f"its corpus was partial: fold {fold} tests {sizes[fold]} of {FACTS.folds[fold]} utterances"
    if table == "table3" and "alpha" not in experiment.values:
        return "it is of another system"
    alphas = [PAPER["table3_alpha"]] if table == "table3" else PAPER[table]
    return "" if alpha_of(experiment) in alphas else f"the paper's {table} has no alpha {alpha_of(experiment):g}"


def alpha_of(experiment: Experiment) -> float:
    """The weight of the CTC task in an experiment's resolved YAML; a `UserError` if its system has none."""
    if "alpha" not in experiment.values:
        raise UserError(f"{experiment.folder}: its YAML has no alpha", "give experiments of the multi-task system")
    return float(experiment.values["alpha"])


def differences(values: dict[str, Any]) -> list[str]:
    """Name what the values of a YAML have otherwise than the paper: `epochs 30 (Table 1: 100)`."""
    rate = PAPER["lr"]["with alpha 0" if values.get("alpha") == 0 else "otherwise"], PAPER["lr"]["source"]
    return [
        f"{key} {_shown(values.get(key))} ({source}: {value})"
        for key, (value, source) in (PAPER["training"] | {"lr": rate, "head_lr": rate}).items()
        if key in values and values[key] != value  # another system may not have it
    ]


def _shown(value: Any) -> str:
    """A value of a YAML in a word or two: an encoder's folder by its name, one from random weights by its type.

    An object is named by its tag.
    """
    if isinstance(value, dict):
        return f"{value['model_type']} from random weights" if "model_type" in value else next(iter(value))
    return Path(value).name if isinstance(value, str) else str(value)


def _label(experiment: Experiment) -> str:
    return f"`{experiment.corpus}/{experiment.protocol}/{experiment.name}`"


def _split(table: str, experiments: list[Experiment]) -> tuple[list[Experiment], list[Experiment]]:
    """Split experiments into those that may share a row with the paper's figures, and the others."""
    beside, others = [], []
    for experiment in experiments:
        (others if mismatch_reason(table, experiment) else beside).append(experiment)
    return beside, others


def _our_run(experiment: Experiment) -> dict[str, Any]:
    """Which experiment of ours a row is of."""
    row = experiment.summary
    cells = _label(experiment), experiment.protocol, experiment.valid, row["folds"], row["seeds"]
    return dict(zip((head for head, _ in OUR_RUN), cells, strict=True))


def _ours(experiment: Experiment, paper: dict[str, Any] | None = None) -> dict[str, Any]:
    """Our half of a row of Table 3 or 4; with the paper's figures also ours less the paper's."""
    row = experiment.summary
    ours = {"our WA": percent(row["wa"]), "95 % interval": interval(row, "wa")}
    ours["our mean of folds' WER"] = percent(row["wer_mean"])
    if paper:
        ours |= {"WA, points": signed(row["wa"] - paper["wa"]), "WER, points": signed(row["wer_mean"] - paper["wer"])}
    return _our_run(experiment) | ours


def _table(caption: str, heads: list[tuple[str, bool]], rows: list[dict[str, Any]]) -> Table:
    return Table(caption, heads, [[row.get(head, "–") for head, _ in heads] for row in rows])


def table3(experiments: list[Experiment]) -> Table:
    """Table 3: ours beside the paper's own row where they may be, the others below."""
    beside, others = _split("table3", experiments)
    *rows, own = (row | {"accuracy": percent(row["accuracy"])} for row in PAPER["table3"])
    rows += [own | _ours(experiment, PAPER["table4"][PAPER["table3_alpha"]]) for experiment in beside] or [own]
    rows += [_ours(other) for other in others]
    heads = [*columns(["system", "protocol"], ["accuracy"]), ("measure", False), *OUR_RUN]
    return _table("Table 3", heads + columns([], ["our WA", "95 % interval", "WA, points"]), rows)


def table4(experiments: list[Experiment]) -> Table:
    """Table 4, by alpha: ours that may be beside the paper's figure, then the others."""
    rows = []
    for alpha in sorted({*PAPER["table4"], *map(alpha_of, experiments)}):
        key = {"alpha": f"{alpha:g}"}
        beside, others = _split("table4", [one for one in experiments if alpha_of(one) == alpha])
        if paper := PAPER["table4"].get(alpha):
            printed = key | {"paper's protocol": OWN_PROTOCOL, "source": paper["source"]}
            printed |= {"paper's WA": percent(paper["wa"]), "paper's WER": percent(paper["wer"])}
            rows += [printed | _ours(experiment, paper) for experiment in beside] or [printed]
        rows += [key | _ours(other) for other in others]
    heads = [("alpha", True), *columns(["paper's protocol", "source"], ["paper's WA", "paper's WER"]), *OUR_RUN]
    ours = ["our WA", "95 % interval", "our mean of folds' WER", "WA, points", "WER, points"]
    return _table("Table 4", heads + columns([], ours), rows)


def figure2(experiments: list[Experiment]) -> Table:
    """Figure 2, by alpha and epoch: ours that may be beside the paper's points, then the others.

    An experiment without the figure's fold has no row.
    """
    rows = []
    wa_head, wer_head = "paper's WA on the test list", "paper's WER on the test list"
    usual = next(iter(PAPER["figure2"].values()))["wa"]
    for alpha in sorted({*PAPER["figure2"], *map(alpha_of, experiments)}):
        key = {"alpha": f"{alpha:g}"}
        here = [one for one in experiments if alpha_of(one) == alpha and FIGURE_2_FOLD in set(one.folds["fold"])]
        beside, others = _split("figure2", here)
        points = PAPER["figure2"].get(alpha, {"wa": {}, "wer": {}})
        wa, wer = points["wa"], points["wer"]
        printed = [
            key
            | {"epoch": epoch, "paper's protocol": OWN_PROTOCOL}
            | {wa_head: percent(wa.get(epoch)), wer_head: percent(wer.get(epoch))}
            for epoch in sorted({*wa, *wer}, key=lambda epoch: (epoch == HIGHEST, epoch))
        ]
        for one in beside:
            curve = _our_curve(one)
            rows += [row | curve.get(row["epoch"], {}) | _our_run(one) for row in printed]
        rows += [] if beside else printed
        for other in others:
            curve = _our_curve(other)
            rows += [key | {"epoch": at} | curve[at] | _our_run(other) for at in curve if at in usual]
    heads = [*columns([], ["alpha", "epoch"]), *columns(["paper's protocol"], [wa_head, wer_head]), *OUR_RUN]
    return _table("Figure 2", heads + columns([], OUR_CURVES.values()), rows)


def _our_curve(experiment: Experiment) -> dict[int | str, dict[str, str]]:
    """By epoch that all seeds have the figures of `OUR_CURVES`, mean over seeds, and last the highest accuracies."""
    epochs = common_epochs(experiment.epochs[experiment.epochs["fold"] == FIGURE_2_FOLD])
    epochs = epochs.groupby("epoch")[[*OUR_CURVES]].mean()
    epochs.loc[HIGHEST] = epochs.max().where(epochs.columns != "valid_wer")
    return {at: {OUR_CURVES[column]: percent(rate) for column, rate in row.items()} for at, row in epochs.iterrows()}


TABLES = {"table3": table3, "table4": table4, "figure2": figure2}


def render_table(which: str, experiments: list[Experiment], command: str) -> str:
    """Render one of `TABLES` as Markdown, with the command that made it and what must be known to read it."""
    table = TABLES[which](experiments)
    notes = [*PAPER["notes"][which], "Figures in per cent, differences (ours less the paper's) in points."]
    for experiment in experiments:
        if reason := mismatch_reason(which, experiment):
            notes.append(f"{_label(experiment)} is not beside the paper's figures: {reason}.")
        if naming.is_optimistic(experiment.protocol):
            notes.append(f"{_label(experiment)}: {naming.describe(experiment.protocol)}.")
        if differing := differences(experiment.values):
            notes.append(f"{_label(experiment)} differs from the paper in: {', '.join(differing)}.")
    return "\n".join([f"    {command}", "", *table.markdown(), "", *(f"- {prose(note)}" for note in notes)]) + "\n"
