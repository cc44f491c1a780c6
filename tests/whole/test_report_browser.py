"""The report in headless Chromium: drawn, sortable, legible in light and dark and on a phone, silent in the console and
on the network.

A copy of the page gets a recorder at its beginning. When its audio has been loaded, or found missing, `CHECKS` unfolds
the notes, looks at the page and clicks every head of every table.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import browser
import pytest
import report_place
from report_place import words

from local.experiment.command_line import parse
from local.report import report

LOST = "8%20100%25.wav"  # as in an address: the browser may say that it is not there
RECORDER = """
<script>
const recorded = [], unheard = new Set();
addEventListener("error", (event) => {
  if (event.target.tagName === "AUDIO") unheard.add(event.target);
  else recorded.push("error: " + (event.message || event.target.outerHTML));
}, true);
addEventListener("unhandledrejection", (event) => recorded.push("rejected: " + event.reason));
addEventListener("securitypolicyviolation", (event) => recorded.push("forbidden: " + event.blockedURI));
</script>
"""
LEAST_CONTRAST = 4.5  # WCAG 2.1, level AA
PHONE = 900  # pixels, below which mistakes are cards and first columns stay
PLAY = """
const players = [...document.querySelectorAll("audio")];
for (const player of players) player.play().catch(() => {});
undefined  // a promise would be waited for, and nothing may ever play
"""
# Without an address where the page's own script has failed.
LOADED = "players.every((player) => !player.src || player.duration > 0 || unheard.has(player))"
CHECKS = """
function painted(shape) {
  const style = getComputedStyle(shape), box = shape.getBoundingClientRect();
  const seen = (colour) => colour !== "none" && colour !== "rgba(0, 0, 0, 0)";
  return !shape.closest("defs") && box.width + box.height > 0 && (seen(style.fill) || seen(style.stroke));
}
function picture(figure) {
  const svg = figure.querySelector("svg");
  if (!svg) return { alt: "", width: 0, height: 0, shapes: 0, words: 0 };
  const { width, height } = svg.getBoundingClientRect();
  const count = (kinds) => [...svg.querySelectorAll(kinds)].filter(painted).length;
  return { alt: svg.getAttribute("aria-label"), width, height, shapes: count("path, use"), words: count("text") };
}
function channels(colour) {
  const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
  return [red, green, blue, alpha];
}
function over(top, below) {
  const alpha = top[3] + below[3] * (1 - top[3]);
  return [0, 1, 2].map((at) => (top[at] * top[3] + below[at] * below[3] * (1 - top[3])) / (alpha || 1)).concat(alpha);
}
function ground(element) {
  let seen = [0, 0, 0, 0];
  for (let at = element; at && seen[3] < 1; at = at.parentElement) {
    seen = over(seen, channels(getComputedStyle(at).backgroundColor));
  }
  return seen;
}
function luminance(colour) {
  const linear = colour.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
function contrast(colour, element) {
  const below = ground(element);
  const [low, high] = [over(channels(colour), below), below].map(luminance).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
function texts() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement, range = document.createRange();
    if (!node.data.trim() || !parent.checkVisibility()) continue;
    range.selectNodeContents(node);
    const style = getComputedStyle(parent), colour = parent.closest("svg") ? style.fill : style.color;
    found.push({
      text: node.data.trim(),
      contrast: contrast(colour, parent),
      lines: range.getClientRects().length,
      out: !parent.closest(".box, svg") && range.getBoundingClientRect().right > innerWidth,
    });
  }
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element, "::before");
    if (!element.checkVisibility() || ["none", "normal", '""'].includes(style.content)) continue;
    found.push({ text: style.content, contrast: contrast(style.color, element), lines: 1, out: false });
  }
  return found;
}
// How far the first cell of each row is from the left of its table's box when the others have been scrolled away.
function strays(box) {
  box.scrollLeft = box.scrollWidth;
  const left = box.getBoundingClientRect().left, scrolled = box.scrollLeft > 0;
  const cells = [...box.querySelectorAll("tr")].map((row) => row.cells[0].getBoundingClientRect().left - left);
  box.scrollLeft = 0;
  return scrolled ? cells : [];
}
function column(table, at) {
  return [...table.tBodies[0].rows].map((row) => row.cells[at].innerText.split("\\n")[0].trim());
}
function sorting(table) {
  return [...table.tHead.rows[0].cells].filter((head) => head.ariaSort).map((head) => {
    const found = { head: head.innerText.trim(), number: head.classList.contains("number"), clicks: [] };
    for (let click = 0; click < 2; click++) {
      head.querySelector("button").click();
      found.clicks.push([head.ariaSort, column(table, head.cellIndex)]);
    }
    return found;
  });
}
for (const note of document.querySelectorAll("details")) note.open = true;
({
  texts: texts(),
  strays: [...document.querySelectorAll(".box")].flatMap(strays),
  columns: [...document.querySelectorAll(".columns")].map((pair) => {
    const [one, other] = [...pair.children].map((child) => child.getBoundingClientRect());
    return Math.abs(one.top - other.top) < 1 && other.left >= one.right;
  }),
  rows: getComputedStyle(document.querySelector(".mistakes tbody tr")).display,
  width: innerWidth,
  reach: document.documentElement.scrollWidth,
  pictures: [...document.querySelectorAll("figure")].map(picture),
  tables: [...document.querySelectorAll("table.sortable")].map(sorting),
  played: players.filter((player) => player.isConnected).map((player) => player.duration),
  unplayable: [...document.querySelectorAll(".unplayable")].map((words) => words.innerText),
  recorded,
})
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[browser.Tab]:
    """A tab of the browser, for one page after the other."""
    with browser.tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """A report with everything on it; the audio of one of its mistakes, u08, has been lost."""
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_place.workplace(folder))
        table = report_place.corpus(folder)
        own = report_place.family(table)
        report(parse(words(table, "n", 0.1)))
        (table.parent / unquote(LOST)).unlink()
        return (own / "report.html").read_text(encoding="utf-8")


def look(tab: browser.Tab, page: str, folder: Path, width: int, scheme: str = "light") -> dict:
    """Open a page in a window of this width; return what `CHECKS` found, complaints and what was fetched."""
    copy = folder / "copy.html"
    copy.write_text(page.replace("<head>", "<head>" + RECORDER), encoding="utf-8")
    tab.events.clear()
    tab.size(width, 900)
    tab.prefer(scheme)
    tab.open(copy.as_uri())
    tab.wait(f"location.href === {json.dumps(copy.as_uri())} && document.readyState === 'complete'")
    tab.evaluate(PLAY)
    tab.wait(LOADED)
    complaints = [line for line in tab.complaints() if LOST not in line]
    return tab.evaluate(CHECKS) | {"console": complaints, "fetched": tab.requested()}


def faults(seen: dict) -> list[str]:
    """What is wrong with a page that was looked at."""
    wrong = [f"console: {line}" for line in seen["console"]] + seen["recorded"]
    wrong += [f"fetched: {name}" for name in seen["fetched"] if not name.startswith(("file:", "data:"))]
    if seen["reach"] > seen["width"]:
        wrong.append(f"the page is {seen['reach']} wide in a window of {seen['width']}")
    for text in seen["texts"]:
        if text["contrast"] < LEAST_CONTRAST:
            wrong.append(f"{text['text']!r} has a contrast of {text['contrast']:.2f}")
        if text["out"]:
            wrong.append(f"{text['text']!r} leaves the window")
        if text["lines"] > 1 and re.search(r"\d–\d", text["text"]):
            wrong.append(f"{text['text']!r} has {text['lines']} lines")
    if seen["width"] < PHONE and (far := [cell for cell in seen["strays"] if abs(cell) > 1]):
        wrong.append(f"{len(far)} first cells are scrolled away")
    for number, picture in enumerate(seen["pictures"]):
        if min(picture["width"], picture["height"]) < 50 or picture["shapes"] < 5 or picture["words"] < 3:
            wrong.append(f"picture {number} is not drawn: {picture}")
        if not re.search(r"\d", picture["alt"]):
            wrong.append(f"picture {number} has no words for its figures")
    for table in seen["tables"]:
        for column in table:
            wrong += unsorted(column)
    return wrong


def unsorted(column: dict) -> list[str]:
    """Compare the order of a column after one click and after two with Python's own."""

    def key(cell: str):
        if not column["number"]:
            return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", cell)]
        return float(re.search(r"[-+]?\d+(\.\d+)?", cell)[0])

    wrong = []
    for (state, cells), way in zip(column["clicks"], ("ascending", "descending"), strict=True):
        known = [cell for cell in cells if cell not in ("–", "")]
        keys = [key(cell) for cell in known]
        if state != way or keys != sorted(keys, reverse=way == "descending") or cells[: len(known)] != known:
            wrong.append(f"column {column['head']!r} is {state}, not sorted {way}: {cells}")
    return wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_good_page(tab, page, tmp_path, width, scheme):
    seen = look(tab, page, tmp_path, width, scheme)
    assert seen["width"] == width
    assert faults(seen) == []
    assert len(seen["texts"]) > 300 and (seen["strays"] or width > PHONE)
    assert seen["columns"] == [width > PHONE] * 3  # of the header, of the sections, and of calibration
    assert seen["rows"] == ("table-row" if width > PHONE else "flex")  # as cards
    assert len(seen["pictures"]) == 7 and [len(table) for table in seen["tables"]] == [12, 8, 6, 6, 4, 10, 6]
    # Three mistakes can be played, of 0.1 s and 0.025 s more for each utterance; the fourth is reported missing.
    assert seen["played"] == pytest.approx([0.1, 0.25, 0.275], abs=1e-3)
    (notice,) = seen["unplayable"]
    assert notice.startswith("This machine cannot play /") and notice.endswith("/d&ta #1/8 100%.wav")


def test_numbers_are_sorted_as_numbers(tab, page, tmp_path):
    """9 before 10, minus before plus, and a dash, which is no figure, last either way."""
    cells = ("10.5", "–", "-3", "9", "+200.25", "< 0.001")
    body = "".join("<tr>" + f'<td class="number">{html.escape(cell)}</td>' * 6 + "</tr>" for cell in cells)
    classes = re.compile(r'(aria-labelledby="classes">.*?<tbody>).*?(</tbody>)', re.DOTALL)
    seen = look(tab, classes.sub(rf"\g<1>{body}\g<2>", page), tmp_path, 1400)
    recall = next(column for column in seen["tables"][2] if column["head"] == "recall")
    assert recall["clicks"] == [
        ["ascending", ["-3", "< 0.001", "9", "10.5", "+200.25", "–"]],
        ["descending", ["+200.25", "10.5", "9", "< 0.001", "-3", "–"]],
    ]


@pytest.mark.parametrize(("width", "rows"), [(899, "flex"), (900, "table-row")])
def test_a_click_on_a_confusion_leaves_its_mistakes(tab, page, tmp_path, width, rows):
    """By mouse and by keyboard; a second click on the cell, or the button, undoes it."""
    look(tab, page, tmp_path, width)
    listed = "[...document.querySelectorAll('.mistakes tbody tr')].filter((row) => row.checkVisibility())"
    pairs = f"{listed}.map((row) => row.cells[0].innerText + ' ' + row.cells[1].innerText)"
    every = ["ang hap", "ang hap", "hap sad", "sad ang"]
    cell = "document.querySelector('.matrix button[data-reference=ang]')"
    reset = "document.querySelector('.filter button')"
    assert sorted(tab.evaluate(pairs)) == every
    tab.evaluate(f"{cell}.click()")
    assert tab.evaluate(pairs) == ["ang hap"] * 2 and tab.evaluate(f"getComputedStyle({listed}[0]).display") == rows
    assert tab.evaluate("document.querySelector('.filter').innerText").startswith(
        "ang taken for hap: the 2 most confident of 2."
    )
    assert tab.evaluate("document.getElementById('mistakes').getBoundingClientRect().top >= 0")
    assert tab.evaluate(f"{cell}.getAttribute('aria-pressed')") == "true"
    tab.evaluate(f"{cell}.click()")
    assert sorted(tab.evaluate(pairs)) == every
    tab.evaluate(f"{cell}.focus()")
    tab.press("Enter")
    assert tab.evaluate(pairs) == ["ang hap"] * 2 and tab.evaluate(f"document.activeElement === {reset}")
    tab.press("Enter")
    assert sorted(tab.evaluate(pairs)) == every and tab.evaluate(f"document.activeElement === {cell}")
    assert not tab.evaluate("document.querySelector('.filter').checkVisibility()")


PLANTED = {
    "a picture is empty": (r"(<svg[^>]*>).*?</svg>", r"\1</svg>", "picture 0 is not drawn"),
    "a picture is hidden": (r"<svg ", r'<svg style="display: none" ', "picture 0 is not drawn"),
    "the script fails": (r'"use strict";', "undefined_name.sort();", "undefined_name is not defined"),
    "tables are not sorted": (r"append\(\.\.\.rows", "prepend(...[]", "not sorted ascending"),
    "numbers are sorted as words": (r"number \? a - b : ", "", "not sorted ascending"),
    "the page is too wide": (r"<main>", '<main style="width: 30rem">', "wide in a window of 400"),
    "words are too faint": (r"--muted: #......", "--muted: #8a9199", "'chance 33.33' has a contrast of "),
    "a cell is illegible": (r"color: light-dark\(#......", "color: light-dark(#777777", "'50.00' has a contrast of "),
    "a word leaves the window": (
        r"<main>",
        '<main><b style="position: fixed; left: 99%">word</b>',
        "leaves the window",
    ),
    "an interval is broken": (r"white-space: nowrap; font", "width: 3rem; font", "lines"),
    "first cells are scrolled away": (r"position: sticky; left: 0; z", "z", "first cells are scrolled away"),
    "a picture is asked of the network": (r"<main>", '<main><img src="https://example.invalid/a.png">', "forbidden: "),
}


@pytest.mark.parametrize(("old", "new", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_seen(tab, page, tmp_path, old, new, message):
    spoilt, times = re.subn(old, new, page, count=1, flags=re.DOTALL)
    assert times == 1
    assert any(message in fault for fault in faults(look(tab, spoilt, tmp_path, 400)))
