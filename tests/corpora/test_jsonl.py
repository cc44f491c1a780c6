"""Lists in JSON lines, NeMo's among them: read as they are, with every line that cannot be used named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from local.core.errors import UserError
from local.corpora.csv_table import read


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate("abcd", start=1):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000 * number), 16_000)
    return tmp_path


def listed(folder, *objects, name="own.jsonl"):
    """A list of objects, and of lines that are none."""
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in objects]
    (folder / name).write_bytes(b"\n".join(lines) + b"\n")
    return folder / name


def four(**columns):
    names = {"wav": "wav", "emo": "emo"} | columns
    return [
        {names["wav"]: f"{name}.wav", names["emo"]: emo} for name, emo in zip("abcd", ("p", "p", "q", "q"), strict=True)
    ]


def faults(path, **given):
    with pytest.raises(UserError) as refusal:
        read(path, **given)
    heading, *lines = refusal.value.what.splitlines()
    assert heading.startswith("corpus own: "), refusal.value.what
    return [line.strip() for line in lines]


def test_an_object_a_line(folder):
    objects = [each | {"spk_id": i // 2, "n": 1.50, "ok": True, "wrd": None} for i, each in enumerate(four())]
    corpus = read(listed(folder, b"", *objects, b"  "))
    assert corpus.table["spk_id"].tolist() == ["0", "0", "1", "1"] and corpus.table["ID"].tolist() == list("abcd")
    assert corpus.source == "own table own.jsonl (columns not used: n, ok)" and corpus.notes == []
    assert corpus.root == folder.resolve()


def test_a_manifest_of_nemo(folder):
    objects = four(wav="audio_filepath", emo="emotion")
    lengths = [{"duration": 0.5 * n, "text": "so it is", "offset": 0} for n in range(1, 5)]
    objects = [each | more for each, more in zip(objects, lengths, strict=True)]
    corpus = read(listed(folder, *objects, name="own.json"))
    assert corpus.notes == ['columns are taken as --columns "wav=audio_filepath emo=emotion wrd=text" says']
    assert corpus.table["wrd"].tolist() == ["SO IT IS"] * 4
    # A part of a longer recording would be read as the whole of it.
    objects[1] |= {"offset": 0.25}
    objects[3] |= {"duration": 1.0}
    lines = faults(listed(folder, *objects, name="own.json"))
    assert lines[0] == "own.json:2: it is a part of a longer recording, from 0.25 s on: cut it out"
    assert "own.json:4: its file has 2 s, of which the list takes 1 s: cut them out" in lines


def test_nested_objects_are_columns(folder):
    objects = [
        {"audio": {"path": each["wav"], "rate": 16000}, "meta": {"who": "ann"}, "label": each["emo"]} for each in four()
    ]
    path = listed(folder, *objects)
    corpus = read(path)
    assert corpus.notes == ['columns are taken as --columns "wav=audio.path emo=label" says']
    assert read(path, columns={"spk_id": "meta.who"}).table["spk_id"].tolist() == ["ann"] * 4
    of_wav = [{"wav": {"path": each["wav"]}, "emo": each["emo"]} for each in four()]
    assert read(listed(folder, *of_wav)).notes == ['columns are taken as --columns "wav=wav.path" says']
    path = listed(folder, *objects)
    with pytest.raises(UserError, match="there is no column 'meta'") as refusal:
        read(path, columns={"spk_id": "meta"})
    assert refusal.value.remedy == '--columns "spk_id=meta.who"'


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ({"wav": "e.wav"}, "it has no 'emo'"),
        ({"emo": "p"}, "it has no 'wav'"),
        ({"wav": "e.wav", "emo": None}, "emo is empty"),
        ({"wav": ["e.wav"], "emo": "p"}, "'wav' is a list"),
        ({"wav": {"path": "e.wav"}, "emo": "p"}, "'wav' is an object, which --columns can take apart: wav.path"),
        ({"wav": "e.wav", "emo": "p"}, "'e.wav': No such file or directory"),
        ({"wav": "e.wav", "emo": "p\0"}, "'emo' has a character that is no text"),
        (b'{"wav": "e.wav", "emo": "\\ud800"}', "'emo' has a character that is no text"),
        (b'{"wav": "e.wav", "emo": "p", "emo": "q"}', "has the key 'emo' twice"),
        (b'{"wav": "e.wav", "emo": "p"', "is not JSON: Expecting ',' delimiter, at character 28"),
        (b'{"wav": "e.wav", "emo": "caf\xe9"}', "byte '0xE9' is not UTF-8 text"),
        (b'"wav"', "is a word, not an object"),
        (b"[1]", "is a list, not an object"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_fault_names_its_line(folder, line, fault):
    path = listed(folder, *four(), line)
    assert faults(path)[0] == f"own.jsonl:5: {fault}"
    partial = read(path, partial=True)
    assert partial.table["ID"].tolist() == list("abcd") and partial.rejected == 1


def test_a_column_that_is_nested_in_every_line_is_a_fault_and_no_text(folder):
    """`wrd` would be the words "a list"."""
    for wrd, fault in ((["so"], "a list"), ({"en": "so"}, "an object, which --columns can take apart: wrd.en")):
        path = listed(folder, *({**each, "wrd": wrd} for each in four()))
        assert faults(path)[0] == f"own.jsonl:1: 'wrd' is {fault}"
    assert read(path, columns={"wrd": "wrd.en"}).table["wrd"].tolist() == ["SO"] * 4
    assert (
        faults(listed(folder, *({**each, "emo": [each["emo"]]} for each in four())))[0]
        == "own.jsonl:1: 'emo' is a list"
    )


def test_lists_that_cannot_be_used(folder):
    with pytest.raises(UserError) as refusal:
        read(listed(folder, json.dumps(four()).encode()))
    assert refusal.value.what.endswith("is one list, not an object a line") and "jq" in refusal.value.remedy
    with pytest.raises(UserError, match=r"there is no emo among the columns \(wav, mood\)") as refusal:
        read(listed(folder, *four(emo="mood")))
    assert refusal.value.remedy == 'say which columns they are: --columns "emo=COLUMN"'
    assert read(listed(folder, *four(emo="mood")), columns={"emo": "mood"}).table["emo"].tolist() == list("ppqq")
