"""Parquet and folders of the library datasets: read with pyarrow, and compared with what that library wrote."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.core.errors import UserError
from local.corpora import arrow
from local.corpora.csv_table import read
from local.corpora.manifest import resolve

LABELS = ["p", "q"]


def sound(n: int, rate: int = 16_000, kind: str = "WAV") -> bytes:
    """A file of noise, other for each n."""
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(n).uniform(-0.1, 0.1, 800 + n), rate, format=kind)
    return file.getvalue()


def rows(n: int, first: int = 0, **columns) -> list[dict]:
    """Rows with audio as bytes and a class by number; their sounds begin with that of `first`."""
    return [
        {
            "audio": {"bytes": sound(first + i), "path": f"{i}.wav"},
            "label": i % 2,
            **{name: value(i) for name, value in columns.items()},
        }
        for i in range(n)
    ]


def write_parquet(path: Path, some: list[dict], features: dict | None = None) -> Path:
    """A parquet file, with what the library datasets notes of its columns."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist(some)
    noted = features if features is not None else {"label": {"names": LABELS, "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": noted}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=3)
    return path


def contents(corpus) -> dict[str, bytes]:
    """The audio of each utterance."""
    paths = resolve(corpus.table["wav"], corpus.root)
    return {name: Path(path).read_bytes() for name, path in zip(corpus.table["ID"], paths, strict=True)}


def test_a_parquet_file_with_audio_in_it(tmp_path):
    path = write_parquet(tmp_path / "own.parquet", rows(8, speaker=lambda i: i // 2, text=lambda i: f"it is {i}"))
    store = tmp_path / "manifests" / "audio"
    corpus = read(path, store=store)
    assert contents(corpus) == {str(i): sound(i) for i in range(8)} and corpus.root == store
    assert corpus.table["emo"].tolist() == ["p", "q"] * 4 and corpus.table["spk_id"].tolist()[:3] == ["0", "0", "1"]
    assert corpus.table["duration"].tolist() == [round((800 + i) / 16_000, 6) for i in range(8)]
    assert corpus.notes[0] == 'columns are taken as --columns "wav=audio emo=label spk_id=speaker wrd=text" says'
    assert corpus.notes[1] == "audio that own.parquet holds as bytes is in files in manifests/audio"


def test_audio_is_written_once_whole_and_resumed(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "own.parquet", rows(6))
    store = tmp_path / "audio"
    real, written = arrow.atomic, []

    def stop_at_the_fourth(path, *words, **options):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        return real(path, *words, **options)

    monkeypatch.setattr(arrow, "atomic", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        read(path, store=store)
    assert len([file for file in store.rglob("*") if file.is_file()]) == 3
    written[0].write_bytes(b"cut")  # as after a power cut: not of its length
    times = {file: file.stat().st_mtime_ns for file in written}
    monkeypatch.setattr(arrow, "atomic", lambda *words, **options: written.append(words[0]) or real(*words, **options))
    assert contents(read(path, store=store)) == {str(i): sound(i) for i in range(6)}
    assert len(written) == 3 + 4  # the three that were not there, and the one that was cut
    assert all(file.stat().st_mtime_ns == times[file] for file in written[1:3])
    read(path, store=store)
    assert len(written) == 7


def test_paths_in_place_of_bytes_and_other_formats(tmp_path):
    some = rows(6)
    some[0]["audio"] = {"bytes": None, "path": "sub/0.wav"}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "0.wav").write_bytes(sound(0))
    some[1]["audio"]["bytes"] = sound(1, kind="FLAC")
    some[2]["audio"] = {"bytes": sound(2, 48_000), "path": None}
    corpus = read(write_parquet(tmp_path / "own.parquet", some), store=tmp_path / "audio")
    found = contents(corpus)
    assert len(found) == 6 and found["own-000003"] == sound(2, 48_000) and found["1"] == sound(1, kind="FLAC")
    assert corpus.table["wav"][1].endswith(".flac")
    plain = [{"path": f"sub/{i}.wav", "emo": "pq"[i % 2]} for i in range(4)]
    for i in range(4):
        (tmp_path / "sub" / f"{i}.wav").write_bytes(sound(i))
    corpus = read(write_parquet(tmp_path / "plain.parquet", plain))
    assert corpus.root == tmp_path.resolve() and corpus.table["ID"].tolist() == [f"sub-{i}" for i in range(4)]


def test_any_name_becomes_one_of_a_file(tmp_path):
    names = ["a." + "b" * 300, "a" * 300 + ".b/c\\d:e", ".é*", ""]
    paths = [Path(arrow._write(tmp_path, name, b"no sound " + name.encode())) for name in names]
    assert all(path.is_file() and len(path.name) <= 140 and path.name.isascii() for path in paths)
    assert paths[0].name.startswith("a-") and paths[0].suffix == "." + "b" * 59


def test_audio_in_an_object(tmp_path):
    some = [{"clip": {"file": f"{i}.wav", "bytes": sound(i)}, "emo": "pq"[i % 2]} for i in range(4)]
    for i in range(4):
        (tmp_path / f"{i}.wav").write_bytes(sound(i))
    path = write_parquet(tmp_path / "own.parquet", some)
    assert read(path, columns={"wav": "clip.file"}).table["ID"].tolist() == ["0", "1", "2", "3"]
    found = contents(read(path, columns={"wav": "clip.bytes"}, store=tmp_path / "audio"))
    assert list(found.values()) == [sound(i) for i in range(4)]
    write_parquet(path, [*some, {"clip": None, "emo": "p"}])
    with pytest.raises(UserError, match=r"1 fault\n *own.parquet:5: wav is empty"):
        read(path, columns={"wav": "clip.file"})


def test_faults_are_named_by_row(tmp_path):
    some = rows(10, text=lambda i: "x\0" if i == 7 else "x")
    some[4]["label"] = -1
    some[5]["audio"] = {"bytes": sound(5)[:900], "path": "5.wav"}
    some[6]["audio"] = {"bytes": None, "path": "absent.wav"}
    some[8]["audio"] = None
    some[9]["audio"]["bytes"] = b""
    path = write_parquet(tmp_path / "own.parquet", some)
    with pytest.raises(UserError) as refusal:
        read(path, store=tmp_path / "audio")
    lines = refusal.value.what
    assert "own.parquet:5: emo is empty" in lines and "own.parquet:8: 'text' has a character that is no text" in lines
    assert "own.parquet:6: '" in lines and "is cut short" in lines
    assert "own.parquet:7: '" in lines and "own.parquet:9: wav is empty" in lines
    assert "own.parquet:10: '" in lines and "the file is empty" in lines
    assert len(read(path, partial=True, store=tmp_path / "audio").table) == 4


def test_samples_are_no_file(tmp_path):
    some = [{"audio": [0.1, 0.2], "emo": "pq"[i % 2]} for i in range(4)]
    with pytest.raises(UserError, match=r"own.parquet:1: 'audio' is a list\n"):
        read(write_parquet(tmp_path / "own.parquet", some))
    some = [{"audio": {"array": [0.1, 0.2], "sampling_rate": 16_000}, "emo": "pq"[i % 2]} for i in range(4)]
    with pytest.raises(UserError, match=r"own.parquet:1: 'audio' is an object, which --columns can take apart: audio"):
        read(write_parquet(tmp_path / "own.parquet", some))


def test_a_folder_of_the_hub(tmp_path):
    root = tmp_path / "own"
    for split, n in (("train", 6), ("validation", 4), ("test", 4)):
        write_parquet(
            root / "data" / f"{split}-00000-of-00001.parquet", rows(n, 100 * n + len(split), who=lambda i: f"s{i}")
        )
    corpus = read(root, columns={"spk_id": "who"}, store=tmp_path / "audio")
    assert corpus.table["split"].tolist() == ["test"] * 4 + ["train"] * 6 + ["valid"] * 4
    assert corpus.table["ID"].tolist()[3:6] == ["test-3", "train-0", "train-1"] and corpus.name == "own"


def test_a_folder_of_the_hub_with_the_same_audio_in_two_splits(tmp_path):
    root = tmp_path / "own"
    for split in ("train", "test"):
        write_parquet(root / "default" / split / "0000.parquet", rows(4))
    where = r"default/train/0000.parquet:1: wav '.*' is in 'default/test/0000.parquet' line 1 already"
    with pytest.raises(UserError, match=where):
        read(root, store=tmp_path / "audio")
    write_parquet(root / "other" / "train" / "0000.parquet", rows(4))
    with pytest.raises(UserError, match="parquet in several folders: default, other"):
        read(root, store=tmp_path / "audio")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"PAR1 no parquet PAR1", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, what):
    pytest.importorskip("pyarrow")
    (tmp_path / "own.parquet").write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read(tmp_path / "own.parquet")
    assert what in refusal.value.what and str(tmp_path / "own.parquet") in refusal.value.what


def test_without_pyarrow_it_is_named_with_what_installs_it(tmp_path, monkeypatch):
    (tmp_path / "own.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pyarrow, which reads parquet .* is not installed") as refusal:
        read(tmp_path / "own.parquet")
    assert "python -m pip install pyarrow" in refusal.value.remedy
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '\ndatasets = ["pyarrow"]' in project


@pytest.fixture
def datasets():
    """The library datasets, which writes what is read here; it takes seconds to load."""
    found = pytest.importorskip("datasets")
    yield found
    sys.modules.pop("datasets", None)


@pytest.mark.slow
def test_what_save_to_disk_writes(tmp_path, datasets):
    features = datasets.Features(
        {"label": datasets.ClassLabel(names=["joy", "anger"]), "who": datasets.Value("string")}
    )
    columns = {"label": [0, 1] * 4, "who": [f"s{i % 3}" for i in range(8)]}
    whole = datasets.Dataset.from_dict(columns, features=features)
    whole = whole.add_column("audio", [row["audio"] for row in rows(8)]).cast_column("audio", datasets.Audio())
    whole.save_to_disk(tmp_path / "one")
    corpus = read(tmp_path / "one", columns={"spk_id": "who"}, store=tmp_path / "audio")
    assert contents(corpus) == {str(i): sound(i) for i in range(8)}
    assert corpus.table["emo"].tolist() == ["joy", "anger"] * 4 and "split" not in corpus.table
    assert corpus.table["spk_id"].tolist() == columns["who"]
    parts = {
        "train": whole.select(range(4)),
        "validation": whole.select([4, 5]),
        "test": whole.shuffle(1).select([0, 1]),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "own")
    corpus = read(tmp_path / "own", partial=True, store=tmp_path / "audio")
    assert corpus.table["split"].unique().tolist()[:2] == ["train", "valid"]
    whole.to_parquet(tmp_path / "own.parquet")
    corpus = read(tmp_path / "own.parquet", store=tmp_path / "audio")
    assert corpus.table["emo"].tolist() == ["joy", "anger"] * 4 and len(contents(corpus)) == 8
