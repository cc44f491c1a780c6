"""Does it read or listen: the table and the picture of `local.scoring.words_and_manner`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from local.core.files import write_text
from local.pages.markdown import p_value, percent, prose, signed, span
from local.pages.svg import INK, LINE, MARGIN, SERIES, dot_rows, picture, standalone
from local.pages.tables import Table, columns
from local.scoring.words_and_manner import EFFECTS

HEADS = {
    "real": "the test set itself",
    "neutral_voice": "words, neutral voice",
    "words": "words, all manners",
    "neutral_words": "manner, neutral words",
    "manner": "manner, all words",
    "as_words": "answers as the words",
    "as_manner": "answers as the manner",
}
MARKS = {"words": (SERIES[0], "o"), "manner": (SERIES[1], "s")}
# Each line of the picture: what it is called, and the effect of words and of manner that it shows.
LINES = (
    ("test set itself (both)", "real", "real"),
    ("the other neutral", "neutral_voice", "neutral_words"),
    ("crossed", "words", "manner"),
    ("answers where they differ", "as_words", "as_manner"),
)
NOTES = (
    "An effect, in points of posterior probability, is how much more probable an emotion is where the label names it "
    "than where it names another, mean over emotions: 0 for a model that does not heed the label, 100 for one that is "
    "always right and sure. The label is the emotion of the utterance whose words are spoken, or that of the manner.",
    "Answers: the share, in per cent, that names the emotion of the words, or of the manner, where these two differ.",
    "The voice is a synthesiser's, so a small effect of its manner may mean that the model does not know such a voice: "
    "compare it with the test set itself, and the words with the manner, rather than either with 100.",
)


def effects_table(rows: pd.DataFrame) -> Table:
    """A row for each experiment and effect; of several, with the difference to the first."""
    first, several = rows["name"].iloc[0], rows["name"].nunique() > 1
    cells = []
    for row in rows.to_dict("records"):
        own = [row["name"], HEADS[row["effect"]], percent(row["value"]), span(row["low"], row["high"], percent)]
        difference = ["–", "–", "–"]
        if row["name"] != first:
            of_difference = span(row["diff_low"], row["diff_high"], signed)
            difference = [signed(row["diff"]), of_difference, p_value(row["p_holm"])]
        cells.append(own + difference * several)
    heads = ["points", "95 % interval"] + [f"less {first}", "95 % interval", "p"] * several
    caption = "What posteriors follow: the words, or the manner of saying them."
    return Table(caption, columns(["experiment", "effect of"], heads), cells)


def render(rows: pd.DataFrame, notes: list[str], command: str, image: str) -> str:
    """The page in Markdown; `notes` are of the texts and voices, `image` is the picture's file, if there is one."""
    shown = [f"![Effect of words and of manner, by experiment]({image})"] if image else []
    sections = [
        [f"    {command}"],
        effects_table(rows).markdown(),
        shown,
        [f"- {prose(each)}" for each in (*NOTES, *notes)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def effects_picture(rows: pd.DataFrame) -> str:
    """The SVG of a file: for each experiment the effects of words and of manner, with their intervals."""
    found = {(row["name"], row["effect"]): row for row in rows.to_dict("records")}
    names = list(rows["name"].unique())
    alt = " ".join(
        f"{name}: " + ", ".join(f"{HEADS[key]} {percent(found[name, key]['value'])}" for key in EFFECTS) + "."
        for name in names
    )
    lines: list[tuple[str, dict | None]] = []
    for name in names:
        lines += [(name, None)]
        lines += [(label, {"words": found[name, a], "manner": found[name, b]}) for label, a, b in LINES]
    with picture("reads-or-listens", alt, height=MARGIN + LINE * len(lines)) as drawn:
        drawn.axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        ends = ("low", "value", "high")
        dot_rows(drawn.axes, lines, MARKS, lambda row, which: [100 * row[which][key] for key in ends])
        drawn.axes.set(xlabel="points, or per cent of answers; 95 % intervals")
    return standalone(drawn.svg)


def write(rows: pd.DataFrame, notes: list[str], command: str, out: Path | None) -> str:
    """The page in Markdown; with `out` it is written, and the picture beside it."""
    image = out.with_suffix(".svg") if out else None
    text = render(rows, notes, command, image.name if image else "")
    if out:
        write_text(image, effects_picture(rows))
        write_text(out, text)
    return text
