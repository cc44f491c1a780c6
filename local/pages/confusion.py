"""The confusion matrix of the report: cells on a colour as deep as their share, in light and in dark mode."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from local.pages.markdown import percent
from local.scoring.predictions import MISSING

LIGHT, DARK = ("#eef3f9", "#0d5196"), ("#20272e", "#74b5f0")  # a cell without utterances of its row, and with all
INKS = ("#000000", "#ffffff")  # on any colour one of the two has a contrast of at least 4.58:1


@dataclass(frozen=True)
class Cell:
    """What a hypothesis has of a reference."""

    reference: str
    hypothesis: str
    count: int
    share: str  # per cent of the reference; a dash where it has no utterance
    style: str  # CSS: the colours of background and text

    @property
    def is_mistake(self) -> bool:
        """Whether there are wrong hypotheses in it, and not merely none."""
        return self.count > 0 and self.hypothesis not in (self.reference, MISSING)


def matrix(counts: pd.DataFrame) -> list[list[Cell]]:
    """The cells of a confusion matrix, a row for each reference (index) and a cell for each hypothesis (column)."""
    shares = counts.div(counts.sum(axis=1).where(lambda total: total > 0), axis=0)
    return [
        [
            Cell(reference, label, int(count), percent(share), style(0 if pd.isna(share) else float(share)))
            for label, count, share in zip(counts, counts.loc[reference], shares.loc[reference], strict=True)
        ]
        for reference in counts.index
    ]


def style(share: float) -> str:
    """The CSS of a cell with this share of its row."""
    grounds = [_mixed(*ends, share) for ends in (LIGHT, DARK)]
    inks = [max(INKS, key=lambda ink, ground=ground: contrast(ink, ground)) for ground in grounds]
    return f"background: light-dark({', '.join(grounds)}); color: light-dark({', '.join(inks)})"


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, `#rrggbb`: 1 to 21 (WCAG 2.1, "contrast ratio").

    >>> round(contrast("#ffffff", "#767676"), 2)
    4.54
    """
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [part / 255 for part in bytes.fromhex(colour[1:])]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _mixed(none: str, full: str, share: float) -> str:
    ends = zip(bytes.fromhex(none[1:]), bytes.fromhex(full[1:]), strict=True)
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in ends)
