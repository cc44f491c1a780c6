"""Which form a path has, and folders with lists of their files, as `audiofolder` of the library datasets reads them."""

from __future__ import annotations

import json

import pytest
from releases import make_release

from local import corpora
from local.core.errors import UserError
from local.corpora.csv_table import read
from local.corpora.own import is_tree

FILES = [f"{split}/{emo}{i}.wav" for split in ("train", "validation", "test") for emo in "pq" for i in (1, 2)]


@pytest.fixture
def folder(tmp_path):
    return make_release(tmp_path / "own", FILES)


def test_one_list_with_the_splits_in_the_paths(folder):
    rows = "".join(f"{file},{file.split('/')[1][0]},{i}\n" for i, file in enumerate(FILES))
    (folder / "metadata.csv").write_text("file_name,label,speaker\n" + rows)
    corpus = read(folder)
    table = corpus.table.set_index("ID")
    assert (corpus.name, corpus.root, len(table)) == ("own", folder.resolve(), 12)
    assert table["split"].value_counts().to_dict() == {"train": 4, "valid": 4, "test": 4}
    assert table.loc["validation-q2", "wav"] == "$data_root/validation/q2.wav" and table["emo"].nunique() == 2
    assert corpus.notes[0] == 'columns are taken as --columns "wav=file_name emo=label spk_id=speaker" says'
    assert corpus.notes[1:] == ["split 'validation' (4 rows) is read as valid"]
    assert read(folder, columns={"recording": "speaker"}).table["recording"].tolist()[:2] == ["0", "1"]


def test_a_list_for_each_split(folder):
    for split in ("train", "validation", "test"):
        lines = [json.dumps({"file_name": f"{emo}{i}.wav", "emo": emo}) for emo in "pq" for i in (1, 2)]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    corpus = read(folder)
    assert len(corpus.table) == 12 and set(corpus.table["split"]) == {"train", "valid", "test"}
    (folder / "test" / "q1.wav").unlink()
    with (folder / "test" / "metadata.jsonl").open("a") as file:
        file.write('\n{"file_name": "q2.wav", "emo": "q"}\nnone')
    with pytest.raises(UserError) as refusal:
        read(folder)
    lines = [line.strip() for line in refusal.value.what.splitlines()[1:]]
    assert "test/metadata.jsonl:3: 'test/q1.wav': No such file or directory" in lines
    assert any(line.startswith("test/metadata.jsonl:6: is not JSON") for line in lines)
    assert "test/metadata.jsonl:5: ID 'test-q2' is in 'test/metadata.jsonl' line 4 already" in lines
    assert read(folder, partial=True).rejected == 3


def test_a_folder_without_lists_is_a_tree(folder):
    assert is_tree(folder) and not is_tree(folder / "train" / "p1.wav")
    with pytest.raises(UserError) as refusal:
        read(folder)
    assert "has no table" in refusal.value.what and "--corpus folder" in refusal.value.remedy
    tree = make_release(folder.parent / "tree", ["happy/1.wav", "happy/2.wav", "sad/1.wav", "sad/2.wav"])
    assert corpora.read("csv", tree, False).table["emo"].tolist() == ["happy", "happy", "sad", "sad"]
