"""What a model finds in a recording, as HTML: the emotion, the words in its colours, and both over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from local.audio.survey import FLAGS
from local.inference import timeline
from local.inference.analyzer import Analysis, Window
from local.inference.demo_page.lanes import Lanes

CLOSE = 0.10
LEAST = 0.05  # of a class of a further head that is shown
RULE = f"Undecided: the probabilities that are named differ by less than {CLOSE * 100:.0f} percentage points."
UNSURE = "Unsure: the highest probability, calibrated by the model's temperature, is below {:.0f} %."
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def candidates(posteriors: Mapping[str, float]) -> list[str]:
    """The labels that may be meant, the most probable first: those less than `CLOSE` below the highest posterior."""
    ranked = sorted(posteriors, key=posteriors.get, reverse=True)
    return [label for label in ranked if posteriors[ranked[0]] - posteriors[label] < CLOSE - 1e-9]


def verdict(posteriors: Mapping[str, float], names: Mapping[str, str]) -> str:
    """The emotion in words, with per cent.

    >>> verdict({"ang": 0.71, "neu": 0.29}, {"ang": "anger", "neu": "neutral"})
    'anger 71 %'
    >>> verdict({"ang": 0.47, "neu": 0.53}, {"ang": "anger", "neu": "neutral"})
    'undecided: neutral 53, anger 47'
    """
    possible = candidates(posteriors)
    shares = ", ".join(f"{names[label]} {100 * posteriors[label]:.0f}" for label in possible)
    return f"undecided: {shares}" if len(possible) > 1 else f"{shares} %"


def mean_posteriors(windows: Sequence[Window]) -> dict[str, float]:
    """The posteriors of all windows, weighted by their lengths."""
    lengths = [window.end - window.start for window in windows]
    return {
        label: float(np.average([window.analysis.posteriors[label] for window in windows], weights=lengths))
        for label in windows[0].analysis.posteriors
    }


def mean_heads(windows: Sequence[Window]) -> dict[str, float | dict[str, float]]:
    """What the further heads say of all windows, by name: numbers, and shares by class, weighted by their lengths."""
    lengths = [window.end - window.start for window in windows]
    heads = [window.analysis.heads for window in windows]
    found: dict[str, float | dict[str, float]] = {}
    for name, first in heads[0].items():
        values = [each[name] for each in heads]
        if isinstance(first, dict):
            shares = {label: [value[label] for value in values] for label in first}
            found[name] = {label: float(np.average(each, weights=lengths)) for label, each in shares.items()}
        else:
            found[name] = float(np.average(values, weights=lengths))
    return found


def in_words(value: float | dict[str, float], names: Mapping[str, str]) -> str:
    """What a head says: a number; or classes, the likeliest first, without those of less than `LEAST`.

    >>> in_words(3.247, {}), in_words({"F": 0.04, "M": 0.96}, {}), in_words({"a": 0.4, "b": 0.6}, {"b": "anger"})
    ('3.25', 'M 96 %', 'anger 60 %, a 40 %')
    """
    if not isinstance(value, dict):
        return f"{value:.2f}"
    ranked = sorted(value.items(), key=lambda pair: -pair[1])
    shown = [pair for place, pair in enumerate(ranked) if place == 0 or pair[1] >= LEAST]
    return ", ".join(f"{names.get(label, label)} {100 * share:.0f} %" for label, share in shown)


def remarks(analyses: Iterable[Analysis]) -> list[tuple[str, str]]:
    """The flags of a recording with their meanings, each once."""
    flags = {flag for analysis in analyses for flag in analysis.flags}
    return [(flag, meaning) for flag, meaning in FLAGS.items() if flag in flags]


class View:
    """Shows windows as HTML.

    `names` are the model's labels with their words; `with_text`: it has a CTC head; `threshold`: that of `--unsure`.
    """

    def __init__(self, names: Mapping[str, str], with_text: bool, threshold: float | None = None) -> None:
        self.names, self.with_text = names, with_text
        self.unsure = "" if threshold is None else UNSURE.format(100 * threshold)
        self.colours = timeline.colours(list(names))

    def summary(self, windows: Sequence[Window], whole: bool) -> str:
        """The emotion of a recording: of its one window, if that is the `whole`, or the mean over its windows."""
        posteriors = mean_posteriors(windows) if windows else {}
        return self._render(
            "summary.html.j2",
            heading=self._verdict(windows[0].analysis) if whole else None,
            count=len(windows),
            posteriors=posteriors,
            heads=self._heads(mean_heads(windows)) if windows else {},
            remarks=remarks(window.analysis for window in windows),
            undecided=whole and len(candidates(posteriors)) > 1,
            unsure=whole and bool(windows) and windows[0].analysis.unsure,
        )

    def details(self, windows: Sequence[Window], whole: bool, lanes: Lanes | None = None, done: str = "") -> str:
        """The windows with their words, below the picture if there is one; `done` tells how far an analysis has come.

        Of a recording that was analyzed as a `whole` also the words one by one, with their times.
        """
        if whole and not self.with_text:
            return ""
        rows = [
            {
                "start": window.start,
                "end": window.end,
                "verdict": self._verdict(window.analysis),
                "undecided": len(candidates(window.analysis.posteriors)) > 1,
                "colour": self.colours[window.analysis.emotion],
                "words": window.analysis.words,
                "flags": window.analysis.flags,
                "heads": self._heads(window.analysis.heads),
            }
            for window in windows
        ]
        undecided = not whole and any(row["undecided"] for row in rows)
        content = {"windows": rows, "whole": whole, "lanes": lanes, "done": done, "undecided": undecided}
        unsure = not whole and any(window.analysis.unsure for window in windows)
        return self._render("details.html.j2", **content, unsure=unsure)

    def _heads(self, heads: Mapping[str, float | dict[str, float]]) -> dict[str, str]:
        """The further heads in words; the emotions for which raters vote have the names of the emotions."""
        return {name: in_words(value, self.names if name == "votes" else {}) for name, value in heads.items()}

    def _verdict(self, analysis: Analysis) -> str:
        words = verdict(analysis.posteriors, self.names)
        return f"unsure: {words.removeprefix('undecided: ')}" if analysis.unsure else words

    def _render(self, name: str, **content: Any) -> str:
        shared = {"names": self.names, "colours": self.colours, "with_text": self.with_text, "rule": RULE}
        shared |= {"rule_unsure": self.unsure}
        return TEMPLATES.get_template(name).render(shared | content)
