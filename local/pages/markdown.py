"""Text that comes from anywhere, inside Markdown: shown, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from markupsafe import Markup

SCORES = ("wa", "ua", "f1", "wf1", "wer", "cer", "ece", "brier")
HEADS = {"wa": "WA", "ua": "UA", "f1": "F1", "wf1": "weighted F1", "wer": "WER", "cer": "CER", "ece": "ECE"}
HEADS |= {"brier": "Brier"}
BY_WORDS = {
    "speaker": "whole speakers",
    "recording": "whole recordings, as there are too few speakers: it does not say how others would differ",
    "utterance": "single utterances, as there are too few speakers and recordings: it says nothing of others",
}


def prose(text: Any) -> Markup:
    r"""Show text as it is, on one line: no Markdown in it counts but code between single backticks.

    >>> prose("<b> of `a_b`")
    Markup('\\<b\\> of `a_b`')
    """
    if isinstance(text, Markup):
        return text
    parts = re.split(r"(?<!`)(`[^`]+`)(?!`)", re.sub(r"\s+", " ", str(text)))
    parts[::2] = (re.sub(r"([\\`*_\[\]<>&|~$#])", r"\\\1", part) for part in parts[::2])
    return Markup("".join(parts))


def code(text: Any) -> Markup:
    """Show text as code, in a fence of more backticks than it has in a row (CommonMark 6.1).

    >>> code("a`b")
    Markup('`` a`b ``')
    """
    text = " ".join(str(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if len(fence) > 1 else ""
    return Markup(f"{fence}{blank}{text}{blank}{fence}")


def percent(value: float | None) -> str:
    """Show a fraction in per cent with two digits, and a missing one as a dash."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.2f}"


def show(score: str, value: float | None) -> str:
    """Show a score: in per cent, but the Brier score as it is."""
    if score != "brier":
        return percent(value)
    return "–" if value is None or pd.isna(value) else f"{value:.3f}"


def signed(value: float) -> str:
    """Show a difference of fractions in per cent, with its sign."""
    return "–" if pd.isna(value) else f"{100 * value:+.2f}"


def p_value(value: float) -> str:
    """Show a p value."""
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def table(heads: list[str], rows: list[list[object]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
