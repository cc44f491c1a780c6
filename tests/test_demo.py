"""The page: its parts, its server, and the real thing in headless Chromium with real files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import browser
import contrast
import numpy as np
import pytest
import soundfile
import tiny_folders
from tiny_folders import noise

from local import demo
from local.core.errors import UserError
from local.inference import model_folder
from local.inference.analyzer import Window
from local.inference.demo_page.about import CAUTION
from local.inference.demo_page.analysis import Runs, analyze
from local.inference.demo_page.results import View, verdict
from local.inference.recognizer import EmotionRecognizer

NAMES = {"ang": "anger", "hap": "happiness", "neu": "neutral"}
PROVENANCE = {"corpus": "mini", "protocol": "speaker", "folds": ["01F"], "commit": "abc", "speakers": ["02F", "02M"]}
PROVENANCE |= {"encoder": '<img src="http://example.invalid/a.png">'}
PROVENANCE |= {"tested": {"ua": 0.75, "low": 0.6125, "high": 0.85, "n": 48, "cluster": "recording"}}
LONG = np.concatenate([noise(3), np.zeros(32_000, np.float32), noise(2.5, seed=2)])
LATE = np.concatenate([noise(2), np.zeros(60 * 16_000, np.float32)])


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
    for name, wav in {"short": noise(1.3), "long": LONG, "late": LATE, "silent": np.zeros(20_000)}.items():
        soundfile.write(top / f"{name}.wav", wav, 16_000)
    (top / "broken <b>.wav").write_text("no audio")
    return {path.stem: path for path in top.iterdir()}


# ---------------------------------------------------------------- the functions behind the page


def always() -> bool:
    return True


def found(recognizer, path: Path, over_time: bool, goes_on=always, shares: list[float] | None = None) -> list:
    """What an analysis shows, step by step."""
    view = View(NAMES, with_text=True)
    shares = [] if shares is None else shares
    return list(analyze(recognizer, view, str(path), over_time, goes_on, shares.append))


def times(html: str) -> list[tuple[float, float]]:
    """Start and end of the windows on the page, in seconds."""
    return [(float(start), float(end)) for start, end in re.findall(r'data-start="(.+?)" data-end="(.+?)"', html)]


def test_a_short_recording_is_analyzed_at_once(recognizer, files):
    shares: list[float] = []
    ((summary, details),) = found(recognizer, files["short"], False, shares=shares)
    expected = recognizer.analyze(files["short"])
    assert f">{verdict(expected.posteriors, NAMES)}<" in summary and shares == []
    assert re.findall(r'score [\d.]+">(.+?)</span>', details) == expected.transcript.split() != []
    assert times(details) == [(0, expected.duration)] and "<svg" not in details


@pytest.mark.parametrize("longest", [60, 3])
def test_a_long_recording_is_followed_when_asked_or_when_it_must_be(recognizer, files, monkeypatch, longest):
    monkeypatch.setattr(recognizer, "longest", longest)
    shares: list[float] = []
    *_, (_, details) = found(recognizer, files["long"], longest == 60, shares=shares)
    windows = list(recognizer.follow(files["long"]))
    assert shares == pytest.approx([window.end / 7.5 for window in windows]) and len(windows) > 1
    assert times(details) == [pytest.approx(window[:2]) for window in windows]
    shown = re.findall(r"<b>(.+?)</b>", details)
    assert shown == [verdict(window.analysis.posteriors, NAMES) for window in windows]
    assert 'data-duration="7.5"' in details and details.count("<svg") == 1 + len(NAMES)


def test_windows_are_shown_as_they_come_but_not_each(recognizer, files, monkeypatch):
    given = [Window(second, second + 1, recognizer.analyze(files["short"])) for second in range(20)]
    monkeypatch.setattr(recognizer, "follow", lambda path: iter(given))
    steps = found(recognizer, files["late"], over_time=True)
    assert [len(times(step[1])) if step else 0 for step in steps[:-1]] == [
        *(1, 2, 3, 4, 5, 0, 7, 0, 9, 0, 0, 12, 0, 0, 15, 0, 0, 0, 19, 0)
    ]
    assert len(times(steps[-1][1])) == 20
    assert all("analyzed: " in step[1] for step in steps[:-1] if step) and "analyzed: " not in steps[-1][1]


def test_an_analysis_that_is_stopped_shows_what_it_has(recognizer, files):
    *_, last = found(recognizer, files["long"], True, goes_on=iter([True, False]).__next__)
    windows = list(recognizer.follow(files["long"]))
    assert times(last[1]) == [window[:2] for window in windows[:2]] and len(windows) > 2
    assert f"stopped at {windows[1].end:.1f} of 7.5 s" in last[1]


def test_a_run_ends_with_the_next_one_of_its_page_or_when_it_is_stopped():
    runs = Runs()
    first, other = runs.begin("a"), runs.begin("b")
    assert first() and other()
    second = runs.begin("a")
    assert not first() and second() and other()
    runs.end("a")
    runs.end("a")
    assert not second() and other()


def test_silence_is_noted(recognizer, files):
    assert "<b>silent</b>" in found(recognizer, files["silent"], False)[-1][0]
    ((summary, details),) = found(recognizer, files["silent"], True)
    assert "Silent throughout" in summary and times(details) == [] and "<svg" in details


@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.parametrize("name", ["broken <b>.wav", "absent.wav", "empty.wav"])
def test_an_unreadable_file_is_a_user_error(recognizer, files, name, over_time):
    folder = files["short"].parent
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(UserError):
        found(recognizer, folder / name, over_time)


def test_labels_have_the_words_of_their_corpus(recognizer):
    assert demo.names_of(recognizer.model) == NAMES
    strange = replace(recognizer.model, labels=["ang", "calm"], provenance={"corpus": ["x"]})
    assert demo.names_of(strange) == {"ang": "anger", "calm": "calm"}


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


SERVER = """
import sys, threading, time, types
from local import demo
demo.names_of = demo.speak_examples = lambda *_: None
sys.modules["local.inference.recognizer"] = types.SimpleNamespace(EmotionRecognizer=types.SimpleNamespace(
    from_hparams=lambda *_, **values: types.SimpleNamespace(model=None)))
sys.modules["local.inference.demo_page.page"] = types.SimpleNamespace(build=lambda *_: None, serve=lambda *_:
    threading.Thread(target=time.sleep, args=[60]).start())
demo.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_server_at_once_whatever_its_threads_do(tmp_path, number, code):
    command = [sys.executable, "-c", SERVER, "--model", "m", "--port", str(free_port())]
    variables = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout.readline().startswith("serving at ")
            server.send_signal(number)
            assert server.wait(10) == code and server.stdout.read() == ""
        finally:
            server.kill()
    assert not list(tmp_path.glob("ser-mtl-demo-*"))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


# ---------------------------------------------------------------- the page in a browser


ROWS = "[...document.querySelectorAll('.window')]"


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
    return opened(tab, server)


def opened(tab: browser.Tab, server: str, theme: str = "light") -> browser.Tab:
    """Open the page where that color scheme is preferred."""
    tab.open("about:blank")  # what is cut off on the page before is no fault of this one
    tab.wait("location.href === 'about:blank'")
    tab.events.clear()
    tab.size(1280, 900)
    tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    tab.open(server)
    tab.wait("document.querySelector('input[type=file]') !== null")
    return tab


def analyzed(page: browser.Tab, path: Path, shown: str = ".verdict") -> None:
    """Upload a file, and wait for what is shown at the end of its analysis."""
    page.upload("input[type=file]", path)
    page.wait(f"document.querySelector({shown!r}) !== null")


def over_time(page: browser.Tab, path: Path) -> None:
    """Upload a short file, and then ask for its emotion over time: by then the page takes every click."""
    analyzed(page, path)
    click_on(page, "input[type=checkbox]")
    page.wait("document.querySelector('.lanes svg') !== null")


def click(page: browser.Tab, name: str) -> None:
    """Click a button by its text, once it is there: Gradio loads the parts of its page one by one."""
    button = f"[...document.querySelectorAll('button')].find((button) => button.innerText.trim() === {name!r})"
    page.wait(f"{button} !== undefined")
    page.evaluate(f"{button}.click()")


def click_on(page: browser.Tab, selector: str) -> None:
    """Click what a selector finds, once it is there."""
    page.wait(f"document.querySelector({selector!r}) !== null")
    page.evaluate(f"document.querySelector({selector!r}).click()")


def cells(page: browser.Tab, selector: str) -> list[str]:
    """The texts of what a selector finds."""
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((each) => each.textContent.trim())")


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


def test_an_uploaded_recording_is_analyzed_by_itself(page, server, recognizer, files):
    analyzed(page, files["short"])
    expected = recognizer.analyze(files["short"])
    assert cells(page, ".verdict") == [verdict(expected.posteriors, NAMES)]
    assert cells(page, ".bars dt") == list(NAMES.values())
    assert cells(page, ".bars dd") == [f"{100 * share:.0f} %" for share in expected.posteriors.values()]
    assert " ".join(cells(page, ".window p span")) == expected.transcript
    rows = [each for word in expected.words for each in (word[0], *(f"{number:.2f}" for number in word[1:]))]
    assert cells(page, ".ser td") == rows
    text = page.evaluate("document.body.innerText")
    assert CAUTION in text and PROVENANCE["encoder"] in text and "2 speakers: 02F, 02M" in text
    assert "UA 75.00 % (95 % interval 61.3–85.0 over recordings) on 48 utterances" in text
    assert faults(page, server) == []
    assert page.evaluate("document.querySelectorAll('a[href]').length") == 0


def test_emotion_over_time_is_a_picture_and_its_windows(page, server, recognizer, files):
    over_time(page, files["long"])
    windows = list(recognizer.follow(files["long"]))
    assert cells(page, ".window b") == [verdict(window.analysis.posteriors, NAMES) for window in windows]
    assert cells(page, ".lanes > span") == ["waveform", *NAMES.values(), "time (s)"]
    nameless = "[...document.querySelectorAll('.ser svg, img')].filter((each) => !(each.ariaLabel || each.alt)).length"
    assert page.evaluate("document.querySelectorAll('.lanes svg').length") == 4 and page.evaluate(nameless) == 0
    assert faults(page, server) == []
    click_on(page, "input[type=checkbox]")  # what is there is analyzed again
    page.wait("document.querySelector('.verdict') !== null && document.querySelector('.lanes') === null")
    assert len(cells(page, ".window")) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_legible_on_a_phone_and_a_screen(tab, server, files, theme):
    page = opened(tab, server, theme)
    over_time(page, files["long"])
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    for width in (1280, 400):
        page.size(width, 900)
        page.wait(f"innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth")
        assert contrast.faint(page) == []
    assert faults(page, server) == []
    page.evaluate("document.querySelector('.window b').style.color = '#888'")
    assert len(contrast.faint(page)) == 1


def test_a_click_on_a_window_plays_it_to_its_end(page, server, files):
    analyzed(page, files["late"], ".lanes svg")
    page.wait("document.querySelector('#recording audio')?.readyState >= 3")
    page.evaluate("audio = document.querySelector('#recording audio'), audio.onplay = () => { played = true }, 0")
    click_on(page, ".window button")
    page.wait("window.played && audio.paused && document.querySelector('.window button').ariaPressed === 'false'")
    # A minute of silence follows, which is not played; the next time, it begins where the window does.
    start = "Number(document.querySelector('.window').dataset.start)"
    assert page.evaluate(f"audio.played.end(0) < 60 && Math.abs(audio.currentTime - {start}) < 0.1")
    page.evaluate("""
        played = false;
        picture = document.querySelector(".lanes svg");
        box = picture.getBoundingClientRect();
        at = (seconds) => new MouseEvent("click", { bubbles: true, clientX: box.left + seconds / 62 * box.width });
        picture.dispatchEvent(at(30)), 0
    """)
    assert page.evaluate("audio.paused")  # in the silence is no window
    page.evaluate("picture.dispatchEvent(at(1)), 0")
    page.wait("window.played")
    assert faults(page, server) == []


def test_a_broken_file_is_a_message_on_the_page(page, server, files):
    page.upload("input[type=file]", files["broken <b>"])
    message = page.wait(
        "((toast) => toast && toast.includes('ffmpeg') && toast)(document.querySelector('.toast-wrap')?.innerText)"
    )
    assert "not audio that libsndfile reads" in message and "/" not in message and "Traceback" not in message
    assert faults(page, server) == []


def test_an_example_is_analyzed_and_its_result_is_cleared_with_it(page, server):
    click(page, "fast")
    page.wait("document.querySelector('.verdict') !== null")
    click_on(page, "[aria-label=Clear]")
    page.wait("document.querySelector('.verdict, .window') === null")
    assert faults(page, server) == []


class Slow:
    """A recognizer whose second window comes when it is let on."""

    def __init__(self, recognizer: EmotionRecognizer) -> None:
        self.model, self.longest, self.confidence = recognizer.model, 1.0, None
        self.windows = recognizer.follow
        self.more, self.taken = threading.Event(), 0

    def follow(self, path: str):
        for window in self.windows(path):
            self.taken += 1
            yield window
            assert self.more.wait(browser.PATIENCE)


def test_an_analysis_can_be_stopped(tab, recognizer, files, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    slow = Slow(recognizer)
    from local.inference.demo_page.page import build  # gradio takes seconds to load

    page = build(slow, NAMES, [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        tab.open(url)
        tab.wait("document.querySelector('input[type=file]') !== null")
        tab.upload("input[type=file]", files["long"])
        tab.wait(f"{ROWS}.length === 1")
        click(tab, "Stop")
        tab.wait("document.querySelector('#stop')?.checkVisibility() !== true")
        slow.more.set()
        tab.wait("document.querySelector('[role=status]')?.innerText.startsWith('stopped at ')")
        assert slow.taken == len(cells(tab, ".window")) == 2
    finally:
        slow.more.set()
        page.close()


def test_nothing_can_be_called_from_outside(page):
    result = json.loads(page.evaluate("JSON.stringify(window.gradio_api_info)"))
    assert result["named_endpoints"] == {} and result["unnamed_endpoints"] == {}
