"""Text from anywhere inside Markdown, shown and without effect; and figures as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

HEADS = {"wa": "WA", "ua": "UA", "f1": "F1", "wf1": "weighted F1", "wer": "WER", "cer": "CER", "ece": "ECE"}
HEADS |= {"brier": "Brier"}
# An underscore between letters or digits has no effect (CommonMark 6.2), and names have many.
ACTIVE = re.compile(r"(?<=[^\W_])_+(?=[^\W_])|([\\`*_\[\]<>&|~$#])")
INLINE = MarkdownIt("zero").enable(["backticks", "emphasis", "escape"])


def prose(text: Any) -> Markup:
    r"""Show text as it is, on one line: no Markdown in it counts but code between single backticks.

    >>> prose("<b> of `a_b` in a_b_")
    Markup('\\<b\\> of `a_b` in a_b\\_')
    """
    if isinstance(text, Markup):
        return text
    parts = re.split(r"(?<!`)(`[^`]+`)(?!`)", re.sub(r"\s+", " ", str(text)))
    parts[::2] = (ACTIVE.sub(lambda at: f"\\{at[1]}" if at[1] else at[0], part) for part in parts[::2])
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


def inline(text: str) -> Markup:
    r"""Turn a line of Markdown into HTML: code, emphasis and escapes count, all else is shown as it is.

    >>> inline(r"**a < b**: `x & y`, \*c\*, [d](https://e)")
    Markup('<strong>a &lt; b</strong>: <code>x &amp; y</code>, *c*, [d](https://e)')
    """
    return Markup(INLINE.renderInline(text))


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def percent(value: float | None) -> str:
    """Show a fraction in per cent with two digits, and a missing one as a dash."""
    return "–" if _missing(value) else f"{100 * value:.2f}"


def show(score: str, value: float | None) -> str:
    """Show a score: in per cent, but the Brier score as it is."""
    return f"{value:.3f}" if score == "brier" and not _missing(value) else percent(value)


def signed(value: float) -> str:
    """Show a difference of fractions in per cent, with its sign."""
    return "–" if _missing(value) else f"{100 * value:+.2f}"


def span(low: float, high: float, shown: Callable[[float], str]) -> str:
    """Show an interval, its ends as `shown` does; a dash where there is none."""
    return "–" if _missing(low) else f"{shown(low)} to {shown(high)}"


def difference(row: Mapping[str, Any], score: str) -> str:
    """Show the difference of a score, `<score>_diff` of a row, in points, with its interval where there is one."""
    low, high = row[f"{score}_diff_low"], row[f"{score}_diff_high"]
    return signed(row[f"{score}_diff"]) + ("" if _missing(low) else f" ({span(low, high, signed)})")


def p_value(value: float) -> str:
    """Show a p value."""
    if _missing(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def table(heads: list[str], rows: Iterable[list[object]], numbers: Iterable[bool] = ()) -> list[str]:
    """The lines of a Markdown table; `numbers` tells which columns are aligned to the right, none by default."""
    rules = ["---:" if number else "---" for number in numbers] or ["---"] * len(heads)
    return ["| " + " | ".join(map(str, line)) + " |" for line in (heads, rules, *rows)]
