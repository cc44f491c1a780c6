"""The page: its parts, its server, and the real thing in headless Chromium with real files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import browser
import numpy as np
import pytest
import soundfile
import tiny_folders
from tiny_folders import noise

from local import demo
from local.core.errors import UserError
from local.inference import model_folder
from local.inference.recognizer import EmotionRecognizer

PROVENANCE = {"corpus": "mini", "protocol": "speaker", "folds": ["01F", "02M"], "commit": "abc"}
PROVENANCE |= {"encoder": '<img src="http://example.invalid/a.png">'}
LONG = np.concatenate([noise(3), np.zeros(32_000, np.float32), noise(2.5, seed=2)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tiny_folders.write(tmp_path_factory.mktemp("demo"))
    model_folder.write(folder, replace(model_folder.read(folder), provenance=PROVENANCE))
    return folder


@pytest.fixture(scope="module")
def recognizer(folder) -> EmotionRecognizer:
    return EmotionRecognizer.from_hparams(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("files")
    for name, wav in {"short": noise(1.3), "long": LONG, "silent": np.zeros(20_000)}.items():
        soundfile.write(top / f"{name}.wav", wav, 16_000)
    (top / "broken <b>.wav").write_text("no audio")
    return {path.stem: path for path in top.iterdir()}


# ---------------------------------------------------------------- the functions behind the page


def no_progress(share: float) -> None:
    raise AssertionError("there is no progress to report")


def test_a_short_recording_is_analyzed_at_once(recognizer, files):
    result, expected = (
        demo.analyze(recognizer, str(files["short"]), False, no_progress),
        recognizer.analyze(files["short"]),
    )
    assert result["posteriors"] == expected.posteriors and result["transcript"] == expected.transcript
    assert [row[0] for row in result["words"]] == expected.transcript.split() != []
    assert [[float(cell) for cell in row[1:]] for row in result["words"]] == [
        pytest.approx(word[1:], abs=0.0051) for word in expected.words
    ]
    assert result["remarks"] == "" and "picture" not in result


@pytest.mark.parametrize("longest", [60, 3])
def test_a_long_recording_is_followed_when_asked_or_when_it_must_be(recognizer, files, monkeypatch, longest):
    monkeypatch.setattr(recognizer, "longest", longest)
    shares: list[float] = []
    result = demo.analyze(recognizer, str(files["long"]), longest == 60, shares.append)
    windows = list(recognizer.follow(files["long"]))
    assert shares == pytest.approx([window.end / 7.5 for window in windows]) and len(windows) > 1
    assert [row[2] for row in result["windows"]] == [window.analysis.emotion for window in windows]
    assert [row[4] for row in result["windows"]] == [window.analysis.transcript for window in windows]
    for row, (start, end, analysis) in zip(result["windows"], windows, strict=True):
        assert (float(row[0]), float(row[1])) == pytest.approx((start, end), abs=0.0051)
        assert row[3] == f"{100 * max(analysis.posteriors.values()):.0f}%"
    assert result["picture"].axes[-1].get_xlim()[1] == pytest.approx(7.5)
    assert "posteriors" not in result


def test_silence_is_noted(recognizer, files):
    assert demo.analyze(recognizer, str(files["silent"]), False, no_progress)["remarks"].startswith("- silent: ")
    result = demo.analyze(recognizer, str(files["silent"]), True, no_progress)
    assert result["windows"] == [] and "silent" in result["remarks"]


def test_flags_are_explained_once(recognizer, files):
    analysis = recognizer.analyze(files["short"])
    flagged = [replace(analysis, flags=("clipped",)), replace(analysis, flags=("clipped", "not finite"))]
    assert [line.split(":")[0] for line in demo.remarks(flagged).splitlines()] == ["- clipped", "- not finite"]


@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.parametrize("name", ["broken <b>.wav", "absent.wav", "empty.wav"])
def test_an_unreadable_file_is_a_user_error(recognizer, files, name, over_time):
    folder = files["short"].parent
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(UserError):
        demo.analyze(recognizer, str(folder / name), over_time, no_progress)


def test_the_panel_shows_the_provenance_and_escapes_markup(recognizer):
    panel = demo.about(recognizer.model)
    for fact in ("mini", "speaker", "01F, 02M", "ang, hap, neu", "2.5 s", "&lt;img"):
        assert f"<dd>{fact}" in panel
    assert "<img" not in panel and "state of mind" in panel
    assert "<dt>corpus" not in demo.about(replace(recognizer.model, provenance={}))


def test_the_examples_are_speech_of_different_speeds(recognizer, tmp_path):
    paths = demo.speak_examples(tmp_path)
    assert [path.stem for path in paths] == list(demo.EXAMPLES)
    analyses = [recognizer.analyze(path) for path in paths]
    assert all(analysis.flags == () for analysis in analyses)
    pace = [len(text) / result.duration for (text, *_), result in zip(demo.EXAMPLES.values(), analyses, strict=True)]
    assert pace == sorted(pace, reverse=True)


# ---------------------------------------------------------------- the command


def test_a_mistake_is_two_lines_before_anything_is_served(tmp_path, folder, monkeypatch, capsys):
    def errors(model: Path, port: int) -> str:
        monkeypatch.setattr(sys, "argv", ["demo", "--model", str(model), "--port", str(port)])
        with pytest.raises(SystemExit) as ended:
            demo.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 2)
        return err

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert str(port) in errors(folder, port)
    assert str(tmp_path) in errors(tmp_path, free_port())


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 70_000, "70000"),
        ("127.0.0.1", 0, "port 0"),
        ("203.0.113.1", 7860, "203"),
        ("no host", 1, "no host"),
    ],
)
def test_an_impossible_address_is_refused(host, port, words):
    with pytest.raises(UserError, match=words):
        demo.refuse_busy(host, port)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


# ---------------------------------------------------------------- the page in a browser


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory) -> Iterator[str]:
    """The address of a server, which gets Ctrl-C at the end, and must leave neither output nor files."""
    browser.chromium()
    scratch = tmp_path_factory.mktemp("scratch")
    command = [sys.executable, "-m", "local.demo", "--model", str(folder), "--port", str(free_port())]
    variables = os.environ | {"TMPDIR": str(scratch), "http_proxy": "http://127.0.0.1:1"}  # a proxy that is not there
    with open(scratch / "stderr", "w+") as errors:
        started = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield re.match(r"serving at (http://127\.0\.0\.1:\d+/)", started.stdout.readline())[1]
            assert list(scratch.glob("ser-mtl-demo-*"))
            started.send_signal(signal.SIGINT)
            assert started.wait() == 130
        finally:
            started.kill()
            started.wait()
            started.stdout.close()
        assert (scratch / "stderr").read_text() == "" and not list(scratch.glob("ser-mtl-demo-*"))


@pytest.fixture(scope="module")
def tab(server, tmp_path_factory) -> Iterator[browser.Tab]:
    with browser.tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(tab, server) -> browser.Tab:
    """The page, newly opened."""
    tab.open("about:blank")  # what is cut off on the page before is no fault of this one
    tab.wait("location.href === 'about:blank'")
    tab.events.clear()
    tab.size(1280, 900)
    tab.open(server)
    tab.wait("document.querySelector('input[type=file]') !== null")
    return tab


def analyze(page: browser.Tab, path: Path) -> None:
    page.upload("input[type=file]", path)
    page.wait("document.querySelector('audio') !== null")
    click(page, "Analyze")


def click(page: browser.Tab, name: str) -> None:
    """Click a button by its text, once it is there: Gradio loads the parts of its page one by one."""
    button = f"[...document.querySelectorAll('button')].find((button) => button.innerText.trim() === {name!r})"
    page.wait(f"{button} !== undefined")
    page.evaluate(f"{button}.click()")


def click_on(page: browser.Tab, selector: str) -> None:
    """Click what a selector finds, once it is there."""
    page.wait(f"document.querySelector({selector!r}) !== null")
    page.evaluate(f"document.querySelector({selector!r}).click()")


def table(page: browser.Tab, columns: int) -> list[list[str]]:
    """The rows of the table that is shown and has so many columns."""
    script = """
    [...document.querySelectorAll('[role=row]')].map((row) => [...row.querySelectorAll('[role=gridcell]')])
      .filter((cells) => cells.length === COLUMNS).map((cells) => cells.map((cell) => cell.innerText.trim()))
    """
    return page.wait(f"((rows) => rows.length && rows)({script.strip().replace('COLUMNS', str(columns))})")


def faults(page: browser.Tab, server: str) -> list[str]:
    """What a good page does not do."""
    foreign = [url for url in page.requested() if not url.startswith((server, "data:", f"blob:{server}"))]
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return page.complaints() + foreign + ([f"{wide} too wide"] if wide > 0 else [])


def test_faults_are_detected(page, server):
    page.evaluate("console.error('planted'); new Image().src = 'http://example.invalid/a.png'; setTimeout('absent()')")
    page.evaluate("document.body.style.width = '2000px'; new Promise((done) => setTimeout(done, 300))")
    result = "\n".join(faults(page, server))
    for fault in ("planted", "http://example.invalid/a.png", "absent is not defined", "too wide"):
        assert fault in result


def test_an_uploaded_recording_is_analyzed(page, server, recognizer, files):
    analyze(page, files["short"])
    page.wait("document.querySelector('meter') !== null")
    expected = recognizer.analyze(files["short"])
    shown = page.evaluate("[...document.querySelectorAll('meter')].map((m) => [m.ariaLabel, m.getAttribute('value')])")
    assert {label: float(share) for label, share in shown} == pytest.approx(expected.posteriors, abs=1e-5)
    assert page.evaluate("document.querySelector('[data-testid=label-output-value]').innerText") == expected.emotion
    assert page.evaluate("document.querySelector('textarea').value") == expected.transcript
    assert table(page, 4) == demo.word_rows(expected)[: len(table(page, 4))]
    text = page.evaluate("document.body.innerText")
    assert demo.CAUTION in text and "01F, 02M" in text and PROVENANCE["encoder"] in text
    page.size(390, 844)
    page.wait("document.documentElement.scrollWidth <= innerWidth")  # tables measure themselves again
    assert faults(page, server) == []
    assert page.evaluate("document.querySelectorAll('a[href]').length") == 0


def test_emotion_over_time_is_a_picture_and_a_table(page, server, recognizer, files):
    click_on(page, "input[type=checkbox]")
    analyze(page, files["long"])
    width, height = page.wait(
        "((image) => image && image.naturalWidth && [image.naturalWidth, image.naturalHeight])"
        "(document.querySelector('img[src^=\"data:image\"]'))"
    )
    assert width > 1000 and height > 500
    assert table(page, 6) == demo.window_rows(recognizer.follow(files["long"]))
    assert page.evaluate("document.querySelector('meter') === null")
    assert faults(page, server) == []


def test_a_broken_file_is_a_message_on_the_page(page, server, files):
    click(page, "Analyze")
    page.wait("document.body.innerText.includes('Upload or record speech first.')")
    analyze(page, files["broken <b>"])
    message = page.wait(
        "((toast) => toast && toast.includes('ffmpeg') && toast)(document.querySelector('.toast-wrap')?.innerText)"
    )
    assert "not audio that libsndfile reads" in message and "/" not in message and "Traceback" not in message
    assert faults(page, server) == []


def test_an_example_is_analyzed_and_its_result_is_cleared_with_it(page, server):
    click(page, "fast")
    page.wait("document.querySelector('audio') !== null")
    click(page, "Analyze")
    page.wait("document.querySelector('meter') !== null")
    click_on(page, "[aria-label=Clear]")
    page.wait("document.querySelector('meter') === null")
    assert faults(page, server) == []


def test_nothing_can_be_called_from_outside(page):
    result = json.loads(page.evaluate("JSON.stringify(window.gradio_api_info)"))
    assert result["named_endpoints"] == {} and result["unnamed_endpoints"] == {}
