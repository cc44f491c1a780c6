"""Readers take any text and any bytes: they return what it says or name a fault, and never fail otherwise."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from iemocap_tree import SMALL, small_release

from local.audio.header import examine
from local.config.hparams import parse_overrides
from local.core import markers, model_json
from local.core.errors import UserError
from local.corpora import csv_table, iemocap_release, manifest
from local.corpora.rows import rows
from local.experiment.command_line import parse
from local.experiment.options import Options
from local.inference import model_folder
from local.scoring import predictions
from local.text.normalise import normalise

fuzz = settings(
    derandomize=True,  # the same examples at every run
    deadline=None,
    database=None,
    max_examples=75,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # whatever UTF-8 can hold
# Whatever a disk can hold: bytes, and texts of the characters that the formats are made of.
MESS = st.binary(max_size=300) | st.text("\"',;:{}[]()<>-_.=%#!&*@\n\r\t\0 \ufeff\u2028aeinNF0159é", max_size=300).map(
    str.encode
)


@pytest.fixture(scope="module", autouse=True)
def unflushed() -> Iterator[None]:
    """Files are written without waiting for the disk: here it never fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """A file in which stretches are overwritten, left out or put in."""
    place = st.integers(0, len(content))
    change = st.tuples(place, st.integers(0, 12), st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 4]))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        result = content
        for at, length, new in changes:
            result = result[:at] + new + result[at + length :]
        return result

    return st.lists(change, min_size=1, max_size=4).map(apply)


def refusal_or(read, *given):
    """What a reader returns; None where it names a fault."""
    try:
        return read(*given)
    except UserError as error:
        assert error.what and error.remedy
        return None


# ---------------------------------------------------------------- IEMOCAP

DIALOGUE = "Ses03F_impro01"
NAMES = [f"{DIALOGUE}_{turn.place}" for turn in SMALL[DIALOGUE]]
EVALUATION = f"Session3/dialog/EmoEvaluation/{DIALOGUE}.txt"
TRANSCRIPTION = f"Session3/dialog/transcriptions/{DIALOGUE}.txt"


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return small_release(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture(scope="module")
def written(release) -> dict[str, bytes]:
    return {path: (release / path).read_bytes() for path in (EVALUATION, TRANSCRIPTION)}


def examined(release: Path, written: dict[str, bytes], **changed: bytes):
    """Turns of the dialogue and faults, with other files in it."""
    for path, content in written.items():
        (release / path).write_bytes(content)
    for path, content in changed.items():
        (release / path).write_bytes(content)
    turns, faults, _ = iemocap_release.examine(release, [])
    return {turn.name: turn for turn in turns if turn.name.startswith(DIALOGUE)}, faults


def is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@fuzz
@given(data=st.data())
def test_every_turns_line_of_a_broken_evaluation_is_read_or_named(release, written, data):
    content = data.draw(MESS | mutated(written[EVALUATION]))
    turns, faults = examined(release, written, **{EVALUATION: content})
    named = {fault.line for fault in faults if fault.file == EVALUATION}
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    foreign = [number for number, line in enumerate(lines, 1) if not is_utf8(line)]
    if foreign and b"\0" in content:
        assert not turns and named == {foreign[0]}
        return
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8" if is_utf8(line) else "cp1252", errors="replace")
        if text.strip().startswith("["):
            assert number in named or any(name in text and turn.label in text for name, turn in turns.items())
    assert turns or named


BLANKS = st.text(" \t", min_size=1, max_size=3)
JUNK = st.sampled_from(["", "% [START - END]", "C-E2:\tNeutral;\t()", "A-F1:\tval 3; act 2;", "nothing at all"])


@fuzz
@given(
    labels=st.lists(st.sampled_from(iemocap_release.LABELS), min_size=5, max_size=5),
    times=st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e3)), min_size=5, max_size=5),
    blanks=BLANKS,
    junk=st.lists(JUNK, min_size=5, max_size=5),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_an_evaluation_however_it_is_spaced_is_read_whole(release, written, labels, times, blanks, junk, bom, end):
    lines = []
    for name, label, (start, length), other in zip(NAMES, labels, times, junk, strict=True):
        lines += [other, f"[{start:.4f}{blanks}- {start + length:.4f}]{blanks}{name}{blanks}{label}{blanks}[2.5, 2, 1]"]
    turns, faults = examined(release, written, **{EVALUATION: bom + end.join(lines).encode()})
    assert {name: turn.label for name, turn in turns.items()} == dict(zip(NAMES, labels, strict=True))
    assert faults == []


@fuzz
@given(data=st.data())
def test_every_turn_of_a_broken_transcription_has_its_text_or_is_named(release, written, data):
    content = data.draw(MESS | mutated(written[TRANSCRIPTION]))
    turns, faults = examined(release, written, **{TRANSCRIPTION: content})
    assert turns.keys() == set(NAMES)
    named = {fault.ID for fault in faults if fault.file == TRANSCRIPTION}
    unreadable = any("is not UTF-8" in fault.reason for fault in faults)
    for name, turn in turns.items():
        assert any(turn.text in content.decode(encoding, errors="replace") for encoding in ("utf-8", "cp1252"))
        assert unreadable or name in named or name.encode() in content


# ---------------------------------------------------------------- tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("table")
    for name in "abcd":
        soundfile.write(place / f"{name}.wav", np.full(160, 0.1), 16_000)
    return place


HEADER = ["wav", "emo", "ID", "wrd", "spk_id", "session", "recording", "gender", "style", "more"]
FIELD = st.sampled_from(["", "a.wav", "./b.wav", "c.wav", "d.wav", "hap", "sad", "f", "impro", "s1", "S1", ".."]) | TEXT
TABLE = st.lists(st.lists(FIELD, min_size=9, max_size=11), max_size=8)


@fuzz
@given(content=MESS | TABLE.flatmap(lambda table: mutated(_written([HEADER, *table]))))
def test_a_broken_table_is_read_or_refused(folder, content):
    path = folder / "own.csv"
    path.write_bytes(content)
    corpus = refusal_or(csv_table.read, path, True)
    if corpus:
        assert corpus.table["emo"].nunique() > 1 and corpus.table["ID"].is_unique
        assert {fault.line for fault in corpus.faults} - {None} <= set(
            range(1, 2 + content.count(b"\n") + content.count(b"\r"))
        )


def _written(table: list[list[str]]) -> bytes:
    file = io.StringIO(newline="")
    # Before Python 3.11 csv writes no zero byte, so that another character is put in its place.
    csv.writer(file).writerows([cell.replace("\0", "\ue000") for cell in row] for row in table)
    return file.getvalue().replace("\ue000", "\0").encode()


@fuzz
@given(table=TABLE)
def test_every_row_is_used_or_named(folder, table):
    sound = [["a.wav", "hap"], ["b.wav", "hap"], ["c.wav", "sad"], ["d.wav", "sad"]]
    table = [[*row, *[""] * 8] for row in sound] + [row for row in table if any(field.strip() for field in row)]
    path = folder / "own.csv"
    path.write_bytes(_written([HEADER, *table]))
    corpus = refusal_or(csv_table.read, path, True)
    assert corpus, "the four sound rows can be used"
    assert len(corpus.table) + corpus.rejected == len(table)
    assert {fault.file for fault in corpus.faults} <= {"own.csv"}


@fuzz
@given(texts=st.lists(TEXT, min_size=4, max_size=4), delimiter=st.sampled_from(",\t;"))
def test_fields_that_python_writes_are_read(folder, texts, delimiter):
    assume("\0" not in "".join(texts))  # of which Python 3.10's csv says that it is no text
    path, faults = folder / "rows.csv", []
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, delimiter=delimiter)
        out.writerow(["wav", "wrd"])
        out.writerows([["a.wav", text] for text in texts])
    found = rows(path, ("wav",), faults, separators=delimiter)
    assert [row["wrd"] for _, row in found] == [text.strip() for text in texts] and faults == []


ID = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@fuzz
@given(names=st.lists(ID, min_size=3, max_size=3, unique=True), texts=st.lists(TEXT, min_size=3, max_size=3))
def test_a_manifest_is_read_as_it_was_written(tmp_path, names, texts):
    table = pd.DataFrame(
        {
            "ID": names,
            "duration": [0.1, 1 / 3, 12345.678901],
            "wav": [f"$data_root/{name}.wav" for name in names],
            "spk_id": names,
            "gender": "",
            "session": ["NA", "1e5", "null"],
            "recording": names[::-1],
            "style": "impro",
            "emo": ["nan", "None", "ang"],
            "wrd": [normalise(text) for text in texts],
        }
    )
    manifest.write(tmp_path / "all.csv", table)
    assert manifest.read(tmp_path / "all.csv").equals(table.sort_values("ID", ignore_index=True))


NUMBER = st.sampled_from(["0.5", "0", "-1", "nan", "inf", "1e400", "", "0x1", " 1", "1_0", "True"])
MANIFEST = NUMBER.map(lambda duration: f'u1,{duration},$data_root/u1.wav,1F,F,s1,r1,impro,ang,"A, B"\n')
MANIFEST = MANIFEST.map(lambda row: f"{','.join(manifest.COLUMNS)}\n{row}u2,2,$data_root/u2.wav,,,,,,hap,\n".encode())
PREDICTIONS = st.tuples(NUMBER, st.sampled_from(["ang", "sad", "hap", ""])).map(
    lambda each: f"ID,emo,emo_hyp,p_ang,p_sad,wrd,wrd_hyp\nu1,ang,{each[1]},{each[0]},0.5,A B,A\n".encode()
)


@fuzz
@given(content=MESS | MANIFEST | MANIFEST.flatmap(mutated))
def test_a_broken_manifest_is_read_or_refused(tmp_path, content):
    (tmp_path / "all.csv").write_bytes(content)
    table = refusal_or(manifest.read, tmp_path / "all.csv")
    if table is not None:
        assert tuple(table.columns) == manifest.COLUMNS
        assert (table["duration"] > 0).all() and np.isfinite(table["duration"]).all()
        assert all(isinstance(value, str) for value in table.drop(columns="duration").to_numpy().ravel())


@fuzz
@given(content=MESS | PREDICTIONS | PREDICTIONS.flatmap(mutated))
def test_broken_predictions_are_read_or_refused(tmp_path, content):
    (tmp_path / "predictions.csv").write_bytes(content)
    table = refusal_or(predictions.read, tmp_path / "predictions.csv")
    if table is not None:
        names = predictions.labels(table)
        assert list(table.columns) == predictions.columns(names) and {*table["emo"], *table["emo_hyp"]} <= set(names)
        posteriors = table[[f"p_{name}" for name in names]].to_numpy()
        assert ((posteriors >= 0) & (posteriors <= 1)).all()


@fuzz
@given(
    posteriors=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    texts=st.lists(TEXT.map(normalise), min_size=6, max_size=6),
)
def test_predictions_are_read_as_they_were_written(tmp_path, posteriors, texts):
    rows_ = [
        (f"u{i}", label, p, 1 - p, *texts[2 * i : 2 * i + 2])
        for i, (p, label) in enumerate(zip(posteriors, ["ang", "NA", "ang"], strict=True))
    ]
    table = predictions.frame(rows_, ["NA", "ang"])
    predictions.write(tmp_path / "predictions.csv", table)
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "predictions.csv"), table, atol=5e-9, rtol=0)


# ---------------------------------------------------------------- JSON


def json_of(plain: st.SearchStrategy) -> st.SearchStrategy:
    return st.recursive(plain, lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=4))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = json_of(PLAIN)
EQUAL = json_of(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT)  # NaN is not NaN
MARKER = b'{"inputs": {"a": 1}, "outputs": {"all.csv": "0123"}, "facts": {"root": "/x"}}\n'
DEEP = b"[" * 100_000


@fuzz
@given(content=MESS | mutated(MARKER) | JSON.map(lambda value: json.dumps(value).encode()) | st.just(DEEP))
def test_a_broken_marker_is_read_or_refused(tmp_path, content):
    (tmp_path / "all.json").write_bytes(content)
    marker = refusal_or(markers.read, tmp_path / "all.json")
    if marker is not None:
        assert all(isinstance(marker[key], dict) for key in ("inputs", "outputs", "facts"))
        assert refusal_or(markers.Marker(tmp_path / "all.json", {"a": 1}).is_done, "stage 0") in (None, False)


@fuzz
@given(
    inputs=st.dictionaries(TEXT, EQUAL, max_size=4),
    facts=st.dictionaries(st.text("abcdefghijklmnop", min_size=3), EQUAL, max_size=4),
)
def test_a_marker_is_done_with_what_it_was_written_with(tmp_path, inputs, facts):
    marker = markers.Marker(tmp_path / "all.json", inputs)
    marker.write([], **facts)
    assert marker.is_done("stage 0") and markers.read(tmp_path / "all.json")["facts"] == facts


KINDS = {
    str: TEXT,
    dict: st.dictionaries(TEXT, JSON, max_size=3),
    list: st.lists(PLAIN, max_size=3),
    float: st.floats(),
}
CONFIG = st.fixed_dictionaries({key: KINDS[kind] | JSON for key, kind in model_json.KEYS.items() if key != "format"})
CONFIG = CONFIG.map(lambda config: json.dumps(config | {"format": model_json.FORMAT}).encode())


@fuzz
@given(content=MESS | CONFIG | CONFIG.flatmap(mutated) | st.just(DEEP))
def test_any_config_json_is_refused_in_words(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    assert refusal_or(model_folder.read, tmp_path) is None  # it has no weights


# ---------------------------------------------------------------- words of a command line


@pytest.fixture(scope="module")
def yaml(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hparams") / "own.yaml"
    path.write_text("epochs: 30\nlr: 0.5\nfreeze: False\npooling: mean\ndevice: null\nseed: 1\n")
    return path


TYPES = {"epochs": int, "lr": float, "freeze": bool, "pooling": str, "device": (str, type(None))}
WORD = st.text() | st.sampled_from([*(f"--{key}" for key in TYPES), "--lr=", "1e5", "nan", "٣", "true", "=", "--"])


@fuzz
@given(words=st.lists(WORD, max_size=6))
def test_any_overrides_are_typed_or_refused(yaml, words):
    for key, value in (refusal_or(parse_overrides, words, yaml) or {}).items():
        assert isinstance(value, TYPES[key])


OPTIONS = ("corpus", "data", "partial", "protocol", "valid", "hold-text", "folds", "seeds", "name", "jobs", "force")
WORDS = WORD | st.sampled_from(
    [
        *(f"--{name}" for name in OPTIONS),
        "csv",
        "iemocap",
        "all",
        "speaker",
        "~nobody",
        "\0",
        "../x",
        "/dev/null",
        "1 2",
    ]
)


@fuzz
@given(words=st.lists(WORDS, max_size=6))
def test_any_options_are_understood_or_refused(workplace, words):
    assume("--help" not in words and "-h" not in words)
    options = refusal_or(parse, words)
    assert options is None or isinstance(options, Options)


# ---------------------------------------------------------------- audio


def wav_files() -> list[bytes]:
    found = []
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
    ):
        file = io.BytesIO()
        noise = 0.1 * np.random.default_rng(0).standard_normal((400, 2 if subtype == "FLOAT" else 1))
        soundfile.write(file, noise, 16_000, subtype=subtype, format=kind)
        found.append(file.getvalue())
    return found


@settings(fuzz, max_examples=200)
@given(
    content=MESS | st.sampled_from(wav_files()).flatmap(mutated), suffix=st.sampled_from(["wav", "raw", "flac", "mp3"])
)
def test_audio_that_passes_holds_what_its_header_says(tmp_path, content, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    try:
        header = examine(path)
    except OSError as error:
        assert str(error)
        return
    assert header.frames > 0 and header.rate > 0 and header.channels > 0 and header.duration > 0
    try:
        samples, rate = soundfile.read(path, header.frames, always_2d=True)
    except soundfile.LibsndfileError:
        return  # found when all samples are read
    assert samples.shape == (header.frames, header.channels) and rate == header.rate
    if content[:4] == b"RIFF" and (at := content.find(b"data", 12)) > 0:
        assert at + 8 + min(struct.unpack("<I", content[at + 4 : at + 8])[0], 1) <= len(content)
