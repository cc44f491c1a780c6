"""report.html: everything that stage 4 found as one page that needs nothing beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from local.core.errors import UserError
from local.pages import plots, tables
from local.pages.markdown import HEADS, percent
from local.pages.mistakes import most_confident
from local.pages.siblings import AlphaCurves, alpha_curves, comparison, siblings
from local.scoring import metrics, stats
from local.scoring.breakdown import breakdown
from local.scoring.scored import Experiment

KEY_FIGURES = ("wa", "ua", "f1", "wer")


def render_report(own: Experiment, data_root: Path) -> str:
    """Write the page; the same experiment and siblings give the same bytes."""
    others, unreadable = siblings(own)
    intervals = stats.intervals(own.predictions)
    pairs, unlike = comparison(own, others)
    alphas = alpha_curves(own, others)
    content = {
        "words": read_results(own.folder / "RESULTS.md"),
        "key_figures": key_figures(own, intervals),
        "tables": {
            "results": tables.results(own, intervals),
            "classes": tables.classes(own.predictions),
            "breakdown": tables.breakdown(breakdown(own.predictions), own.predictions),
            "comparison": tables.comparison(pairs, own.predictions) if len(pairs) else None,
        },
        "pairs": len(pairs),
        "pictures": pictures(own, alphas),
        "learning": learning_pictures(own),
        "summary": own.summary,
        "alphas": alphas,
        "unlike": unreadable | unlike,
        "mistakes": most_confident(own.predictions, data_root),
        "wrong": int((own.predictions["emo"] != own.predictions["emo_hyp"]).sum()),
        "spoken": bool(tables.scores_present(("wer",), own.predictions)),
    }
    return template().render(content)


def template() -> jinja2.Template:
    """The page's template: all that comes from data is escaped, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template("page.html.j2")


def read_results(path: Path) -> dict[str, Any]:
    """Take from RESULTS.md its title, command, bullets and the key below its table: the page says the same.

    Raises
    ------
    UserError
        There is no such file.
    """
    if not path.exists():
        raise UserError(f"there is no {path}", "run stage 4 first")
    lines = path.read_text(encoding="utf-8").splitlines()
    tables = next((number for number, line in enumerate(lines) if line.startswith("|")), len(lines))
    later = next((number for number, line in enumerate(lines) if line.startswith("## ")), len(lines))
    return {
        "title": next((line[2:] for line in lines if line.startswith("# ")), path.parent.name),
        "command": next((line.strip() for line in lines if line.startswith("    ")), ""),
        "facts": [inline(line[2:]) for line in lines if line.startswith("- ")],
        "key": inline(" ".join(line for line in lines[tables:later] if line and not line.startswith(("|", "- ")))),
    }


def inline(text: str) -> Markup:
    r"""Turn the little Markdown of a line (code, emphasis, what `prose` escapes) to HTML; escape the rest.

    >>> inline("**a < b**: `x & y`")
    Markup('<strong>a &lt; b</strong>: <code>x &amp; y</code>')
    >>> inline(r"a \*\*b\*\* \<i\>")
    Markup('a &#42;&#42;b&#42;&#42; &lt;i&gt;')
    """

    def shown(at: re.Match) -> str:
        if at[1]:
            return f"<code>{at[1]}</code>"
        return "&" if at[2] == "&" else f"&#{ord(at[2])};"  # an & begins what was escaped already

    html = re.sub(r"`([^`]+)`|\\([\\`*_\[\]&|~$#])", shown, str(escape(text)))
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html))


def key_figures(own: Experiment, intervals: dict[str, tuple[float, float]]) -> list[tuple[str, str, str]]:
    """Name, value and interval of the scores that stand first."""
    shown = tables.scores_present(KEY_FIGURES, own.predictions)
    return [(HEADS[score], percent(own.summary[score]), tables.span(intervals[score])) for score in shown]


def pictures(own: Experiment, alphas: AlphaCurves) -> dict[str, Markup]:
    """Every picture that there is once, by name."""
    counts, bins = metrics.confusion(own.predictions), metrics.reliability(own.predictions)
    drawn = {
        "folds": plots.fold_bars("folds", per_fold(own.predictions)),
        "counts": plots.confusion("counts", counts),
        "shares": plots.confusion("shares", counts, normalised=True),
        "reliability": plots.reliability("reliability", bins, own.summary["ece"], own.summary["brier"]),
    }
    if len(alphas.accuracy) > 1:
        accuracy = "WA, training" if own.valid == "none" else "WA, validation"
        drawn["alpha_accuracy"] = plots.lines("alpha_accuracy", alphas.accuracy, accuracy)
        if alphas.wer:
            drawn["alpha_wer"] = plots.lines("alpha_wer", alphas.wer, "validation WER")
    return {name: Markup(svg) for name, svg in drawn.items()}


def per_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """`fold,wa,wa_low,wa_high,ua,ua_low,ua_high` of every fold, all its seeds together, and of all folds pooled."""
    parts = dict(iter(predictions.groupby("fold")))
    if len(parts) > 1:
        parts["pooled"] = predictions
    rows = []
    for fold, tested in parts.items():
        scores, intervals = metrics.emotion_scores(tested["emo"], tested["emo_hyp"]), stats.intervals(tested)
        row = {"fold": fold}
        for score in ("wa", "ua"):
            low, high = intervals[score]
            row |= {score: scores[score], f"{score}_low": low, f"{score}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def learning_pictures(own: Experiment) -> dict[str, Markup]:
    """The learning curves of every fold."""
    drawn = {}
    for number, (fold, epochs) in enumerate(own.epochs.groupby("fold")):
        of_fold = own.folds[own.folds["fold"] == fold]
        chosen = dict(zip(of_fold["seed"], of_fold["epoch"], strict=True))
        drawn[fold] = Markup(plots.learning(f"learning_{number}", fold, epochs, chosen))
    return drawn
