"""The curves of stress.html: WA, UA and WER against the strength of a condition."""

from __future__ import annotations

import math

import pandas as pd

from local.core.conditions import CLEAN, CONDITIONS
from local.pages.plots import HIGHEST_WER, legend
from local.pages.svg import DASHES, MARKERS, MUTED, SERIES, picture

LINES = {"wa": (SERIES[0], MARKERS[0], DASHES[0]), "ua": (SERIES[1], MARKERS[1], DASHES[0])}
LINES |= {"wer": (SERIES[2], MARKERS[2], DASHES[1])}
HEIGHT = 2.7  # inches


def curve_rows(name: str, scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of stress_scores.csv along the axis of a condition, clean audio among them, with `tick`.

    Empty where the condition has not been tested.
    """
    known = CONDITIONS[name]
    clean = scores[scores["condition"] == CLEAN.condition].assign(strength=float(known.clean), tick="clean")
    own = scores[(scores["condition"] == name) & scores["strength"].isin(known.strengths)]
    own = own.assign(tick=own["strength"].map("{:g}".format))
    rows = pd.concat([clean, own]) if len(own) else own
    places = {float(strength): place for place, strength in enumerate(known.axis)}
    return rows.assign(place=rows["strength"].map(places)).sort_values("place", ignore_index=True)


def curve(name: str, rows: pd.DataFrame) -> str:
    """The scores of a condition by strength with bands of their 95 % intervals; `rows` as of `curve_rows`.

    Strengths are equally far from each other, whatever their numbers: clean audio has an infinite ratio.
    """
    known = CONDITIONS[name]
    shown = [score for score in LINES if rows[score].notna().any()]
    alt = f"{known.title}, per cent by strength ({known.unit}). " + " ".join(
        f"{score.upper()}: " + ", ".join(_point(row, score) for row in rows.to_dict("records")) + "." for score in shown
    )
    top = 100 * min(max(1.0, float(rows[shown].max(axis=None))), HIGHEST_WER) + 2
    with picture(f"stress_{name}", alt, HEIGHT) as drawn:
        axes, at = drawn.axes, range(len(rows))
        for score in shown:
            colour, mark, dashes = LINES[score]
            low, high = (100 * rows[f"{score}{end}"].astype(float) for end in ("_low", "_high"))
            axes.fill_between(at, low, high.clip(upper=top), color=colour, alpha=0.16, linewidth=0)
            axes.plot(at, 100 * rows[score], color=colour, marker=mark, linestyle=dashes, label=score.upper())
        clean = rows.index[rows["tick"] == "clean"][0]
        axes.axvline(clean, color=MUTED, linewidth=0.8, zorder=1)
        axes.set_xticks(at, rows["tick"])
        axes.set(ylim=(0, top), ylabel="per cent", xlabel=known.unit)
        legend(axes, columns=3)
    return drawn.svg


def _point(row: dict, score: str) -> str:
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    ends = "" if math.isnan(low) else f" ({100 * low:.2f} to {100 * high:.2f})"
    return f"{100 * row[score]:.2f}{ends} at {row['tick']}"
