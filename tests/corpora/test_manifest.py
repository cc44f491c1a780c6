"""Tables of utterances on disk: read as they were written, or refused."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pandas as pd
import pytest

from local.core.errors import UserError
from local.core.files import digest
from local.corpora import manifest
from local.corpora.manifest import COLUMNS

# Every one of these is a value that a reader of CSV may take for something else.
TRAPS = [
    "NA",
    "null",
    "1e5",
    "007",
    "nan",
    "None",
    "true",
    "-inf",
    "N/A",
    "2024-01-01",
    "0x1F",
    "",
    "a,b",
    'say "x"',
    "1.0",
]


def row(name: str, **columns: str | float) -> dict[str, str | float]:
    return dict.fromkeys(COLUMNS, "") | {"ID": name, "duration": 1.0, "wav": f"$data_root/{name}.wav"} | columns


def test_what_looks_like_something_else_stays_text(tmp_path):
    path = tmp_path / "all.csv"
    rows = [row(f"u{i:02d}", spk_id=trap, recording=trap, emo=trap, wrd=trap) for i, trap in enumerate(TRAPS)]
    rows += [row(trap) for trap in TRAPS if trap]
    manifest.write(path, pd.DataFrame(rows))
    found = manifest.read(path)
    assert found.to_dict("records") == sorted(rows, key=lambda each: each["ID"])
    with open(path, newline="", encoding="utf-8") as file:  # Python's own reader sees the same
        assert [each["wrd"] for each in csv.DictReader(file)] == found["wrd"].tolist()


def test_durations_keep_every_digit(tmp_path):
    chance = random.Random(1)
    durations = [chance.uniform(0, 40) for _ in range(200)] + [3.58, 1e-4, 12345.678901]
    rows = [row(f"u{i:03d}", duration=duration) for i, duration in enumerate(durations)]
    manifest.write(tmp_path / "all.csv", pd.DataFrame(rows))
    assert manifest.read(tmp_path / "all.csv")["duration"].tolist() == durations


def test_it_is_sorted_by_id_and_has_its_columns_alone(tmp_path):
    table = pd.DataFrame([row(name) for name in ("b", "B", "a10", "a2", "ż")]).assign(more=1)
    manifest.write(tmp_path / "all.csv", table.sample(frac=1, random_state=1)[table.columns[::-1]])
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "ID,duration,wav,spk_id,gender,session,recording,style,emo,wrd"
    assert [line.split(",")[0] for line in lines[1:]] == ["B", "a10", "a2", "b", "ż"]


def test_only_the_leading_data_root_is_replaced():
    wavs = pd.Series(["$data_root/a$b.wav", "$data_root/$data_root/x.wav", "$data_root/$home.wav"])
    found = manifest.resolve(wavs, Path("/da$ta_root/\\1")).tolist()
    assert found == ["/da$ta_root/\\1/a$b.wav", "/da$ta_root/\\1/$data_root/x.wav", "/da$ta_root/\\1/$home.wav"]


def test_labels_are_in_alphabetical_order():
    table = pd.DataFrame({"emo": ["sad", "ang", "neu", "sad", "hap", "Zorn"]})
    assert manifest.labels(table) == ["Zorn", "ang", "hap", "neu", "sad"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "No columns"),
        (lambda text: text.replace("duration", "length"), "it has the columns ID,length"),
        (lambda text: text.replace("1.0", "long"), "could not convert string to float: 'long'"),
        (lambda text: text + ",".join("abcdefghijkl"), "Expected 10 fields in line 3, saw 12"),
        (lambda text: text.encode() + b"\xff", "codec can't decode"),
    ],
)
def test_a_file_that_is_not_a_table_of_utterances(tmp_path, change, message):
    path = tmp_path / "all.csv"
    manifest.write(path, pd.DataFrame([row("u1")]))
    changed = change(path.read_text())
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(UserError) as refusal:
        manifest.read(path)
    assert f"{path} is not a table of utterances" in refusal.value.what and message in refusal.value.what
    assert "\n" not in refusal.value.what and refusal.value.remedy.endswith("--stage 0 --force true")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no manifest .*all\.csv") as error:
        manifest.read(tmp_path / "all.csv")
    assert "results that were copied need their manifests, too" in error.value.remedy


def test_lines_are_those_of_a_manifest(tmp_path, iemocap_table):
    odd = iemocap_table.assign(duration=iemocap_table["duration"] / 3, style=["", 'a "b"', "c,d"] * 1843 + ["", ""])
    manifest.write(tmp_path / "whole.csv", odd)
    manifest.write_lines(tmp_path / "lines.csv", manifest.columns_of(odd), manifest.lines(odd))
    assert (tmp_path / "lines.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_further_columns_are_written_where_they_have_values(tmp_path):
    path = tmp_path / "all.csv"
    rows = [row("a", split="train", corpus=""), row("b", split="", corpus="")]
    manifest.write(path, pd.DataFrame(rows))
    found = manifest.read(path)
    assert list(found.columns) == [*COLUMNS, "split"] == manifest.columns_of(pd.DataFrame(rows))
    assert manifest.column(found, "split").tolist() == ["train", ""]
    assert manifest.column(found, "votes").tolist() == ["", ""]
    manifest.write_lines(tmp_path / "lines.csv", manifest.columns_of(found), manifest.lines(found))
    assert (tmp_path / "lines.csv").read_bytes() == path.read_bytes()


def test_a_strange_column_or_order_is_refused(tmp_path):
    for more in (["what"], ["votes", "split"]):
        path = tmp_path / "all.csv"
        path.write_text(",".join([*COLUMNS, *more]) + "\n")
        with pytest.raises(UserError, match="it has the columns"):
            manifest.read(path)


def test_a_table_is_the_same_without_what_raters_say(tmp_path):
    path = tmp_path / "train.csv"
    rows = [row(f"u{i:02d}", wrd=trap, emo=trap, duration=0.1 + i / 7) for i, trap in enumerate(TRAPS)]
    manifest.write(path, pd.DataFrame(rows).assign(label="x"))
    earlier = digest(path)
    assert manifest.is_same(path, earlier) and not manifest.is_same(path, None)
    manifest.write(path, pd.DataFrame(rows).assign(label="x", votes="ang 2, or 3", arousal="2.5"))
    assert digest(path) != earlier
    assert manifest.is_same(path, earlier) and manifest.is_same(path, digest(path))
    with_means = digest(path)
    manifest.write(
        path, pd.DataFrame(rows).assign(label="x", votes="ang 2, or 3", arousal="2.5", ratings="E1.arousal 2")
    )
    assert manifest.is_same(path, with_means) and manifest.is_same(path, earlier)
    manifest.write(path, pd.DataFrame(rows).assign(label="x", votes="ang 2, or 3", arousal="3", ratings="E1.arousal 3"))
    assert not manifest.is_same(path, with_means) and manifest.is_same(path, earlier)
    rows[0]["emo"] = "other"
    manifest.write(path, pd.DataFrame(rows).assign(label="x", votes="ang 2, or 3", arousal="2.5"))
    assert not manifest.is_same(path, earlier) and not manifest.is_same(tmp_path / "none.csv", earlier)


def test_tables_below_each_other(tmp_path):
    both = manifest.concat([pd.DataFrame([row("a")]), pd.DataFrame([row("b", votes="ang 2")])])
    assert both["votes"].tolist() == ["", "ang 2"] and both.index.tolist() == [0, 1]
