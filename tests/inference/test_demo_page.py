"""The parts of the demo's page: what they say, what they draw, and that nothing of a recording or a model is markup."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from local.audio import recordings
from local.core.errors import UserError
from local.inference import timeline
from local.inference.analyzer import Analysis, Window
from local.inference.demo_page import about, lanes
from local.inference.demo_page.results import RULE, UNSURE, View, candidates, mean_posteriors, remarks, verdict
from local.inference.model_folder import Model
from local.systems import System
from local.text.ctc import Word

NAMES = {"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"}
HOSTILE = '<img src="http://example.invalid/a.png">'


def window(start: float, end: float, *shares: float, words: tuple[str, ...] = (), flags=()) -> Window:
    posteriors = dict(zip(NAMES, shares, strict=True))
    spoken = [Word(text, start + place / 10, start + (place + 1) / 10, 0.25) for place, text in enumerate(words)]
    emotion = max(posteriors, key=posteriors.get)
    return Window(start, end, Analysis(emotion, posteriors, " ".join(words), spoken, end - start, flags))


CALL = [
    window(1, 3, 0.7, 0.1, 0.1, 0.1, words=("GO", "AWAY")),
    window(3, 4.5, 0.13, 0.28, 0.31, 0.28),
    window(6, 9, 0.05, 0.9, 0.05, 0, words=("<B>",), flags=("clipped",)),
]


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{html}</div>")


def texts(html: str, path: str) -> list[str]:
    return [" ".join("".join(found.itertext()).split()) for found in parsed(html).findall(path)]


# ---------------------------------------------------------------- emotion and words


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.13, 0.28, 0.31, 0.28), "undecided: neutral 31, happiness 28, sadness 28"),
        ((0.71, 0.2, 0.05, 0.04), "anger 71 %"),
        ((0.5, 0.4, 0.06, 0.04), "anger 50 %"),  # ten points are not less than ten
        ((0.495, 0.4, 0.061, 0.044), "undecided: anger 50, happiness 40"),
        ((0.25, 0.25, 0.25, 0.25), "undecided: anger 25, happiness 25, neutral 25, sadness 25"),
    ],
)
def test_close_posteriors_are_undecided(shares, words):
    posteriors = dict(zip(NAMES, shares, strict=True))
    assert verdict(posteriors, NAMES) == words
    assert (len(candidates(posteriors)) > 1) == words.startswith("undecided")


def test_the_mean_of_windows_is_weighted_by_their_lengths():
    expected = {"ang": (2 * 0.7 + 1.5 * 0.13 + 3 * 0.05) / 6.5, "sad": (2 * 0.1 + 1.5 * 0.28) / 6.5}
    assert expected.items() <= {label: pytest.approx(share) for label, share in mean_posteriors(CALL).items()}.items()


def test_a_recording_that_is_analyzed_at_once():
    view = View(NAMES, with_text=True)
    summary, details = view.summary(CALL[:1], whole=True), view.details(CALL[:1], whole=True)
    assert texts(summary, ".//h2") == ["anger 70 %"] and RULE not in summary
    assert texts(summary, ".//dt") == list(NAMES.values()) and texts(summary, ".//dd") == ["70 %", *["10 %"] * 3]
    colours = [re.search("--hue:(#[0-9a-f]+)", each.get("style"))[1] for each in parsed(summary).iter("dd")]
    assert colours == [timeline.COLOURS[label] for label in NAMES]
    assert texts(details, ".//p/span") == ["GO", "AWAY"]
    rows = [texts(f"<b>{ElementTree.tostring(row, 'unicode')}</b>", ".//td") for row in parsed(details).iter("tr")]
    assert rows[1:] == [["GO", "1.00", "1.10", "0.25"], ["AWAY", "1.10", "1.20", "0.25"]]
    assert RULE in view.summary(CALL[1:2], whole=True)
    assert "(no words)" in view.details(CALL[1:2], whole=True)


def test_windows_are_in_the_colour_of_their_emotion_and_can_be_played():
    view = View(NAMES, with_text=True)
    details = parsed(view.details(CALL, whole=False))
    rows = [row for row in details.iter("div") if row.get("data-start")]
    assert [(float(row.get("data-start")), float(row.get("data-end"))) for row in rows] == [each[:2] for each in CALL]
    assert [row.get("class") for row in rows] == ["window", "window undecided", "window"]
    for row, label in zip(rows, ("ang", "neu", "hap"), strict=True):
        assert row.get("style") == f"--hue:{timeline.COLOURS[label]}"
        assert row.find("button").get("aria-label").startswith("play ")
    assert [row.find("b").text for row in rows] == [verdict(each.analysis.posteriors, NAMES) for each in CALL]
    assert rows[2].find("p/span").text == "<B>" and "[clipped]" in "".join(rows[2].itertext())
    assert RULE in view.details(CALL, whole=False) and RULE not in view.details(CALL[:1], whole=False)
    assert texts(view.summary(CALL, whole=False), ".//h2") == ["Mean of 3 windows, by their lengths"]
    assert "silent throughout" in view.summary([], whole=False).lower()


def test_further_heads_are_shown_of_each_window_and_in_the_mean():
    heads = [
        {"gender": {"F": 0.98, "M": 0.02}, "valence": 1.0, "votes": {"ang": 0.5, "<oth>": 0.5}},
        {"gender": {"F": 0.24, "M": 0.76}, "valence": 4.0, "votes": {"ang": 1.0, "<oth>": 0.0}},
    ]
    call = [
        each._replace(analysis=replace(each.analysis, heads=head)) for each, head in zip(CALL[:2], heads, strict=True)
    ]  # of 2 and 1.5 s
    view = View(NAMES, with_text=True)
    whole, over_time = (view.summary(call[:n], whole=n == 1) for n in (1, 2))
    assert "Further heads" in texts(whole, ".//h2")
    assert texts(whole, ".//dt")[4:] == ["gender", "valence", "votes"]
    assert texts(whole, ".//dd")[4:] == ["F 98 %", "1.00", "anger 50 %, <oth> 50 %"]
    mean = ["F 66 %, M 34 %", f"{(2 * 1 + 1.5 * 4) / 3.5:.2f}", "anger 71 %, <oth> 29 %"]
    assert texts(over_time, ".//dd")[4:] == mean
    said = texts(view.details(call, whole=False), ".//p/em")
    assert said[0] == "gender: F 98 %; valence: 1.00; votes: anger 50 %, <oth> 50 %"
    assert said[1] == "(no words)" and said[2].startswith("gender: M 76 %, F 24 %; valence: 4.00")
    assert "gender" not in view.details(call[:1], whole=True)  # the summary above has them
    assert "Further" not in view.summary(CALL, whole=False) and "gender" not in view.details(CALL, whole=False)


def test_what_is_unsure_is_said_with_the_threshold():
    rule = UNSURE.format(65)
    marked = [
        Window(start, end, replace(analysis, confidence=0.6, unsure=place < 2))
        for place, (start, end, analysis) in enumerate(CALL)
    ]
    view = View(NAMES, with_text=True, threshold=0.65)
    summary = view.summary(marked[:1], whole=True)
    assert texts(summary, ".//h2") == ["unsure: anger 70 %"] and rule in texts(summary, ".//p")
    assert "below 65 %" in rule and rule not in texts(view.summary(marked[2:], whole=True), ".//p")
    details = view.details(marked, whole=False)
    verdicts = ["unsure: anger 70 %", "unsure: neutral 31, happiness 28, sadness 28", "happiness 90 %"]
    assert texts(details, ".//b") == verdicts and rule in " ".join(texts(details, ".//p"))
    assert "nsure" not in view.details(CALL, whole=False) + view.summary(CALL[:1], whole=True)


def test_a_model_without_a_ctc_head_has_no_transcript_and_no_words():
    view = View(NAMES, with_text=False)
    assert view.details([window(0, 1, 0.7, 0.1, 0.1, 0.1)], whole=True) == ""
    details = view.details([window(0, 1, 0.7, 0.1, 0.1, 0.1)], whole=False)
    assert not re.search("[Ww]ords|[Tt]ranscript", details) and texts(details, ".//b") == ["anger 70 %"]


def test_labels_and_words_are_text():
    view = View({"x": HOSTILE, "y": "</section>"}, with_text=True)
    posteriors = {"x": 0.5, "y": 0.5}
    hostile = [Window(0, 1, Analysis("x", posteriors, HOSTILE, [Word(HOSTILE, 0, 1, 0.5)], 1, (HOSTILE,)))]
    for html in (view.summary(hostile, True), view.details(hostile, True), view.details(hostile, False, done=HOSTILE)):
        assert "<img" not in html and "&lt;img" in html
        assert len(parsed(html)) == 1


def test_flags_are_explained_once():
    flagged = [replace(CALL[0].analysis, flags=flags) for flags in (("clipped",), ("not finite", "clipped"))]
    assert [flag for flag, _ in remarks(flagged)] == ["clipped", "not finite"]
    summary = View(NAMES, True).summary([CALL[2]], whole=True)
    assert texts(summary, ".//li")[0].startswith("clipped: in a channel")


# ---------------------------------------------------------------- over time


def spans(path: str) -> list[tuple[float, float]]:
    """The shares of the width that a path covers."""
    pieces = [[float(each) for each in re.findall(r"[MH]([\d.]+)", piece)] for piece in path.split("Z") if piece]
    return [(min(piece) / lanes.WIDTH, max(piece) / lanes.WIDTH) for piece in pieces]


@pytest.fixture
def spoken(tmp_path):
    """Nine seconds and a half at 44.1 kHz, louder and louder, stereo."""
    time = np.arange(round(9.5 * 44_100)) / 44_100
    wav = 0.09 * time * np.sin(2 * np.pi * 200 * time)
    soundfile.write(tmp_path / "spoken.flac", np.stack([wav, wav], 1), 44_100)
    return tmp_path / "spoken.flac"


def test_the_envelope_is_that_of_the_samples_whatever_the_blocks(spoken, monkeypatch):
    edges, low, high = lanes.envelope(spoken)
    assert edges[-1] == pytest.approx(9.5) and len(high) == timeline.COLUMNS
    wav = recordings.read(spoken).wav.numpy()
    bounds = np.round(edges * 16_000).astype(int)
    inner = [wav[max(start - 1, 0) : end + 1] for start, end in itertools.pairwise(bounds)]
    np.testing.assert_allclose(high, [part.max() for part in inner], atol=0.03)
    np.testing.assert_allclose(low, [part.min() for part in inner], atol=0.03)
    assert high.max() == pytest.approx(wav.max(), abs=1e-4) and low.min() == pytest.approx(wav.min(), abs=1e-4)
    blocks = recordings.blocks
    monkeypatch.setattr(recordings, "blocks", lambda path: blocks(path, seconds=0.37))
    for one, other in zip((low, high), lanes.envelope(spoken)[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_lanes_cover_their_windows_in_the_colours_of_the_labels(spoken):
    picture = lanes.of_recording(spoken, CALL, NAMES)
    wave, *rows = picture.rows
    assert [row.name for row in picture.rows] == ["waveform", *NAMES.values()] and picture.duration == 9.5
    covered = {colour: spans(path) for colour, path in wave.shapes}
    step = 1 / timeline.COLUMNS
    expected = {"ang": [(1, 3)], "neu": [(3, 4.5)], "hap": [(6, 9)], "sad": []}
    for label, times in expected.items():
        found = covered[timeline.COLOURS[label]]
        assert np.reshape(found, (-1, 2)) == pytest.approx(np.reshape(times, (-1, 2)) / 9.5, abs=2 * step)
    silence = [(0, 1), (4.5, 6), (9, 9.5)]
    assert np.array(covered[lanes.NOTHING]) == pytest.approx(np.array(silence) / 9.5, abs=2 * step)
    ((colour, path),) = rows[1].shapes  # happiness: 0.1, 0.28, then 0.9
    assert colour == timeline.COLOURS["hap"]
    assert np.array(spans(path)) == pytest.approx(np.array([(1, 4.5), (6, 9)]) / 9.5, abs=1e-3)
    assert [float(height) for height in re.findall(r"V([\d.]+)", path)] == [90, 72, 100, 100, 10, 100]
    assert [text for _, text in picture.ticks] == ["0", "2", "4", "6", "8"] and picture.unit == "s"
    assert [place for place, _ in picture.ticks] == pytest.approx([0, 2 / 9.5, 4 / 9.5, 6 / 9.5, 8 / 9.5])


def test_every_lane_is_described(spoken):
    alts = [row.alt for row in lanes.of_recording(spoken, CALL, NAMES).rows]
    assert alts[0] == "waveform of 9.5 s, most probable: anger for 2.0 s, happiness for 3.0 s, neutral for 1.5 s"
    mean = (2 * 0.1 + 1.5 * 0.28 + 3 * 0.9) / 6.5
    assert alts[2] == f"probability of happiness: {100 * mean:.0f}% on average, 90% at most"
    html = View(NAMES, True).details(CALL, False, lanes.of_recording(spoken, CALL, NAMES))
    assert [picture.get("aria-label") for picture in parsed(html).iter("svg")] == alts


@pytest.mark.parametrize("samples", [1, 700, 16_000])
def test_silence_of_any_length_is_in_no_colour(tmp_path, samples):
    soundfile.write(tmp_path / "still.wav", np.zeros(samples), 16_000)
    wave, *rows = lanes.of_recording(tmp_path / "still.wav", [], NAMES).rows
    assert [bool(path) for _, path in wave.shapes] == [True, False, False, False, False]
    assert not any(path for row in rows for _, path in row.shapes) and wave.alt.endswith("silent throughout")


def test_a_file_without_audio_is_a_user_error(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(UserError):
        lanes.of_recording(tmp_path / "text.wav", CALL, NAMES)


# ---------------------------------------------------------------- the model


def facts(**provenance) -> dict[str, str]:
    model = Model(System(), list(NAMES), [], [], 2.54, provenance)
    html = about.about(model, NAMES)
    assert about.CAUTION in parsed(html).findtext(".//p")
    return dict(zip(texts(html, ".//dt"), texts(html, ".//dd"), strict=True))


OWN = {"ua": 0.75, "low": 0.6125, "high": 0.85, "n": 48, "cluster": "recording"}
WHOLE = {"ua": 0.80214, "low": 0.719, "high": 0.885, "n": 96, "cluster": "speaker", "folds": "2/10"}


def test_the_model_is_described():
    told = facts(corpus="mini", folds=["01F"], speakers=["01M", "02F"], tested=OWN, experiment=WHOLE, encoder=HOSTILE)
    assert told["quality"].startswith("UA 75.00 % (95 % interval 61.3–85.0 over recordings) on 48 utterances")
    assert "over 2/10 folds: UA 80.21 % (95 % interval 71.9–88.5 over speakers)" in told["quality"]
    assert told["quality"].endswith("chance is 25.00 %.")
    assert (told["trained on"], told["tested on"]) == ("2 speakers: 01M, 02F", "fold 01F")
    assert (told["encoder"], told["emotions"]) == (HOSTILE, "anger, happiness, neutral, sadness")
    assert told["longest utterance"] == "2.5 s"


def test_an_ensemble_was_tested_by_its_members():
    told = facts(folds=["01F", "02M"], speakers=200, tested=WHOLE, experiment=WHOLE)
    assert "each by the member that was not trained on it" in told["quality"] and "over 2/10" not in told["quality"]
    assert (told["trained on"], told["tested on"]) == ("200 speakers", "folds 01F, 02M, a member each")


def test_its_heads_are_named_and_emotions_that_were_not_trained():
    system = System()
    system.tasks, system.emotion_weight = {"gender": ["F", "M"], "valence": []}, 0.0
    html = about.about(Model(system, list(NAMES), [], [], 2.54, {"tested": OWN}), NAMES)
    told = dict(zip(texts(html, ".//dt"), texts(html, ".//dd"), strict=True))
    assert told["further heads"] == "gender, valence; numbers are on the scale of its corpus"
    assert told["quality"].startswith("none: the emotion head of the model was not trained")
    assert "further heads" not in facts()


def test_what_is_not_known_is_said():
    told = facts()
    assert told["quality"] == about.UNKNOWN and "not noted" in told["trained on"] and "tested on" not in told
    assert facts(speakers=[])["trained on"] == "unknown speakers"
    assert "no interval" in facts(tested=OWN | {"low": None, "high": None})["quality"]


@pytest.mark.parametrize("value", [None, 3, -1.5, "x", HOSTILE, [], [[]], {}, {"ua": "x", "n": 3}, {"ua": 0.5}])
def test_a_folder_may_say_anything(value):
    names = ("tested", "experiment", "speakers", "folds", "corpus", "protocol", "encoder")
    for name in names:
        facts(**{name: value})
    assert facts(**dict.fromkeys(names, value))["quality"] == about.UNKNOWN
