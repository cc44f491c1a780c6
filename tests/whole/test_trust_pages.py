"""Names from elsewhere are text on every page and in every table, and the demo serves nothing but its page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import hand_made_runs
import httpx
import pandas as pd
import pytest
import report_place
import soundfile
import tiny_folders
from markdown_it import MarkdownIt
from paths import REPOSITORY

from local.corpora import manifest
from local.experiment.command_line import parse
from local.folds import make_folds
from local.inference.recognizer import EmotionRecognizer
from local.pages import plots
from local.prepare import prepare
from local.report import report
from local.score import score
from local.scoring import metrics, predictions, scored

# ---------------------------------------------------------------- pages and tables

HOSTILE = r"""<script>alert(1)</script><img src=x onerror=alert(1)> "' | ** ` \1 \g<0> #0102ff --> ]]> $x$ &lt; 1"""


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data):
        self.texts.append(data)


def test_names_in_a_picture_are_text():
    def drawn(label: str) -> Elements:
        rates = dict.fromkeys(("wa", "wa_low", "wa_high", "ua", "ua_low", "ua_high"), 0.5)
        return Elements(plots.fold_bars("p", pd.DataFrame([{"fold": label} | rates, {"fold": "b"} | rates])))

    hostile = drawn(HOSTILE)
    assert hostile.found == drawn("a").found
    assert any("<script>" in text for text in hostile.texts)


@pytest.fixture
def reported(tmp_path, monkeypatch) -> Callable[[str], Elements]:
    """The report of an experiment in which a label, the end of every transcript and the corpus's source are given."""

    def made(name: str) -> Elements:
        top = tmp_path / str(len(list(tmp_path.iterdir())))
        top.mkdir()
        monkeypatch.chdir(report_place.workplace(top))
        given = report_place.words(report_place.corpus(top), "n", 0.1)
        own = report_place.experiment(given, {"1A": 1, "1B": 3}, {"1A": 2, "1B": 0})
        for path in own.glob("seed1/*/predictions.csv"):
            table = predictions.read(path).rename(columns={"p_ang": f"p_{name}"})
            table["wrd_hyp"] = table["wrd_hyp"] + " " + name
            table[["emo", "emo_hyp"]] = table[["emo", "emo_hyp"]].replace("ang", name)
            table.to_csv(path, index=False)
        experiment = scored.load(own)  # whose scores are to be those of these predictions
        pooled = scored.pooled_predictions(experiment.runs, manifest.read(Path("manifests/talk/all.csv")))
        wers = [metrics.scores(some)["wer"] for _, some in pooled.groupby(["seed", "fold"])]
        experiment.folds.assign(wer=wers).to_csv(own / "folds.csv", index=False)
        path = own / "RESULTS.json"
        notes = json.loads(path.read_text(encoding="utf-8"))
        notes |= {"title": name, "command": name, "facts": [*notes["facts"], name], "key": [*notes["key"], name]}
        path.write_text(json.dumps(notes), encoding="utf-8")
        report(parse(given))
        return Elements((own / "report.html").read_text(encoding="utf-8"))

    return made


def test_what_a_report_shows_of_data_is_text(reported):
    tame, hostile = reported("anger"), reported(HOSTILE)
    assert {tag for tag, _ in hostile.found} == {tag for tag, _ in tame.found}
    assert not any(name.startswith("on") for _, names in hostile.found for name in names)
    assert sum("<script>alert(1)</script>" in text for text in hostile.texts) > 3


def test_what_results_md_says_of_a_corpus_is_text(workplace, own_table):
    """A table's columns that are not used, and its faults, are named on the page in the table's own words."""
    link = "[a](https://example.org) ![b](https://example.org/c.png)"
    table = pd.read_csv(own_table, dtype=str).assign(**{f"{HOSTILE} {link}\n\n# d\n\n- e": "x"})
    table.loc[0, "emo"] = f"{HOSTILE} {link}\n\n# d"
    table.to_csv(own_table, index=False)
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--partial", "true"]
    prepare(parse(given))
    make_folds(parse(given))
    hand_made_runs.predict(given, "1A")
    score(parse(given))
    page = (parse(given).experiment_folder / "RESULTS.md").read_text(encoding="utf-8")
    tokens = MarkdownIt().enable("table").parse(page)
    tokens += [token for block in tokens for token in block.children or ()]
    assert not {"html_block", "html_inline", "link_open", "image"} & {token.type for token in tokens}
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h2", "h2"]
    assert sum("<script>alert(1)</script>" in token.content for token in tokens if token.type == "text") >= 2


def test_cells_that_a_spreadsheet_would_take_for_formulas_stay_as_they_are(tmp_path):
    """IDs are what the corpus has: tables are for programs, and README warns of spreadsheets."""
    path, name = tmp_path / "predictions.csv", "=cmd|'/C calc'!A0"
    predictions.write(path, predictions.frame([(name, "a", 0.25, 0.75, "", "")], ["a", "b"]))
    assert predictions.read(path)["ID"].tolist() == [name]


# ---------------------------------------------------------------- the page that listens


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[httpx.Client]:
    """What talks to the page of a server."""
    from local.inference.demo_page.page import build  # gradio takes seconds to load

    top = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(top / "served"))
        patch.setenv("no_proxy", "*")
        recognizer = EmotionRecognizer.from_hparams(tiny_folders.write(top), run_opts={"device": "cpu"})
        page = build(recognizer, {label: label for label in recognizer.labels}, [])
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
        page.close()


@pytest.mark.parametrize("name", ["/etc/passwd", "path.sh", "../path.sh", "/proc/self/environ", REPOSITORY / "path.sh"])
def test_nothing_on_the_disk_is_served(browser, name):
    assert browser.get(f"/gradio_api/file={name}").status_code in (403, 404)


def test_a_recording_that_was_not_uploaded_is_not_read(browser, tmp_path):
    recording = tmp_path / "a.wav"
    soundfile.write(recording, tiny_folders.noise(1), 16_000)
    (uploaded,) = browser.post("/gradio_api/upload", files={"files": ("a.wav", recording.read_bytes())}).json()
    assert heard(browser, uploaded)
    assert not heard(browser, str(recording))
    assert not heard(browser, "http://127.0.0.1:1/a.wav")


def heard(browser: httpx.Client, path: str) -> bool:
    """Whether the page says something of a recording."""
    (number,) = (each["id"] for each in browser.get("/config").json()["dependencies"] if len(each["inputs"]) == 2)
    session = {"session_hash": f"session of {path}"}
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    browser.post("/gradio_api/queue/join", json={"data": [file, False], "fn_index": number, **session})
    answer = browser.get("/gradio_api/queue/data", params=session).text
    assert "process_completed" in answer
    return '"success":true' in answer
