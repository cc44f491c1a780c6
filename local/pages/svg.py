"""Plots as inline SVG with the page's colours and font, the same bytes every time.

matplotlib draws with the colours named here; each is replaced by a colour of the page's style sheet, so that
a plot is legible in dark and light mode. pyplot and its state are not used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, RULE = (f"#01020{digit}" for digit in range(3))
SERIES = tuple(f"#01021{digit}" for digit in range(6))
PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
} | {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)}
MARKERS = "os^Dv*"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))
STYLE_SHEET = Path(__file__).with_name("page.css")
WIDTH = 5.0  # inches, 360 units of SVG: 9-unit type is legible on a phone
LINE, MARGIN = 0.27, 1.15  # inches, of `dot_rows`: the height of a line, and that of legend and axis together

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
}


class Picture:
    """One plot: `axes` to draw on, and after the `with` block of `picture` its `svg`."""

    svg: str

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")

    @property
    def axes(self) -> Axes:
        """The axes, made on first use."""
        return self.figure.gca()


@contextmanager
def picture(name: str, alt: str, height: float) -> Iterator[Picture]:
    """Draw one plot, `height` inches high and `WIDTH` wide.

    `name` is the prefix of every id in the SVG, unique within the page; `alt` says as text what the plot shows.
    """
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        drawn = Picture(height)
        yield drawn
        file = io.StringIO()
        drawn.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn.svg = _inline(file.getvalue(), name, alt)


def standalone(svg: str) -> str:
    """The plot as the contents of a file of its own: with the page's colours and background, light or dark."""
    css = STYLE_SHEET.read_text(encoding="utf-8")
    palette = re.search(r"^:root \{.*?^\}\n@media.*?^\}$", css, re.DOTALL | re.MULTILINE)[0]
    ground = "svg { background: var(--ground); color: var(--ink); font-family: system-ui, sans-serif; }"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{100 * WIDTH:.0f}"'
    return svg.replace("<svg", head, 1).replace(">", f">\n<style>\n{palette}\n{ground}\n</style>", 1) + "\n"


def _inline(svg: str, name: str, alt: str) -> str:
    """Turn matplotlib's file into inline SVG, without prologue, metadata and unused ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    size = re.search(r'viewBox="([^"]*)"', svg).group(1)
    head = f'<svg viewBox="{size}" role="img" aria-label="{escape(alt)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)  # a function, because the text may hold backslashes
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda at: f' id="{name}-{at[1]}"' if at[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r" font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\"", "", svg)
    svg = re.sub("#0102[0-9a-f]{2}", lambda at: PAGE_COLOURS.get(at[0], at[0]), svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def dot_rows(
    axes: Axes,
    lines: Sequence[tuple[str, dict | None]],
    marks: Mapping[str, tuple[str, str]],
    figures: Callable[[dict, str], Sequence[float]],
) -> None:
    """Draw a line below the other for each label: of a row a dot and its interval for each score, of None a heading.

    `marks` has the colour and the marker of each score; `figures` gives low end, value and high end of a row's score.
    """
    for place, (score, (colour, mark)) in enumerate(marks.items()):
        for at, row in enumerate(row for _, row in lines):
            if row is not None:
                y = at + 0.3 * (place - 0.5)
                low, value, high = figures(row, score)
                axes.plot([low, high], [y, y], color=colour, linewidth=1.4)
                axes.plot(value, y, color=colour, marker=mark, markersize=4.5)
        axes.plot([], [], color=colour, marker=mark, label=score.upper())
    axes.set(ylim=(len(lines) - 0.5, -0.5))
    axes.set_yticks(range(len(lines)), [label for label, _ in lines])
    for (_, row), label in zip(lines, axes.get_yticklabels(), strict=True):
        label.set(fontweight="normal" if row is not None else "bold", color=INK if row is None else MUTED)
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
