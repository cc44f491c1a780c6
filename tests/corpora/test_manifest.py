"""Tables of utterances on disk, and the manifests that stages 0 and 1 make of a corpus."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pandas as pd
import pytest

from local.core.errors import UserError
from local.corpora import csv_table, manifest
from local.corpora.manifest import COLUMNS
from local.experiment.options import parse
from local.folds import main as stage_1
from local.prepare import main as stage_0
from local.splits import audit

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


# ---------------------------------------------------------------- the table


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


def test_it_is_sorted_by_id_and_has_the_contracted_columns_only(tmp_path):
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
    ("change", "said"),
    [
        (lambda text: "", "No columns"),
        (lambda text: text.replace("duration", "length"), "it has the columns ID,length"),
        (lambda text: text.replace("1.0", "long"), "could not convert string to float: 'long'"),
        (lambda text: text + ",".join("abcdefghijkl"), "Expected 10 fields in line 3, saw 12"),
        (lambda text: text.encode() + b"\xff", "codec can't decode"),
    ],
)
def test_a_file_that_is_no_table_of_utterances(tmp_path, change, said):
    path = tmp_path / "all.csv"
    manifest.write(path, pd.DataFrame([row("u1")]))
    changed = change(path.read_text())
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(UserError) as refusal:
        manifest.read(path)
    assert f"{path} is not a table of utterances" in refusal.value.what and said in refusal.value.what
    assert "\n" not in refusal.value.what and refusal.value.remedy.endswith("--stage 0 --force true")


def test_an_absent_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no manifest .*all\.csv"):
        manifest.read(tmp_path / "all.csv")


# ---------------------------------------------------------------- stages 0 and 1


@pytest.fixture
def stage(workplace, own_table, monkeypatch, capsys):
    """Run stage 0 or 1 on own.csv as run.sh calls it; return exit code, stdout and stderr."""

    def run(number: int, *words: str) -> tuple[int, str, str]:
        given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", *words]
        monkeypatch.setattr("sys.argv", [f"stage {number}", *given])
        code = 0
        try:
            (stage_0, stage_1)[number]()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time of writing and its contents."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_stage_0_writes_the_table(stage, own_table):
    code, said, errors = stage(0)
    assert (code, errors) == (0, "") and "48 utterances (ang 16, hap 16, sad 16)" in said and "4 speakers" in said
    found = manifest.read(Path("manifests/own/all.csv"))
    expected = csv_table.read(own_table).table.sort_values("ID", ignore_index=True)
    assert found.to_dict("records") == expected.to_dict("records")
    facts = json.loads(Path("manifests/own/all.json").read_text())["facts"]
    assert facts["root"] == str(own_table.parent.resolve()) and facts["faults"] == []


@pytest.mark.parametrize(
    ("words", "folds"),
    [
        ([], ["1A", "1B", "2A", "2B"]),
        (["--valid", "none"], ["1A", "1B", "2A", "2B"]),
        (["--protocol", "session"], ["s1", "s2"]),
        (["--protocol", "recording"], [f"part{i}" for i in range(10)]),
    ],
)
def test_stage_1_writes_the_contracted_files(stage, words, folds):
    stage(0)
    code, _, errors = stage(1, *words)
    assert (code, errors) == (0, "")
    protocol = words[1] if "--protocol" in words else "speaker"
    folder = Path("manifests/own") / (protocol + "-valid_none" * ("none" in words))
    assert {path.name for path in folder.iterdir()} == {*folds, "folds.json", "leaks.csv"}
    everything = manifest.read(Path("manifests/own/all.csv"))
    tested = []
    for fold in folds:
        present = {path.name for path in (folder / fold).iterdir()}
        held_out = set() if "none" in words else {"valid.csv"}
        assert present == {"train.csv", "test.csv", "tokenizer.model"} | held_out
        tables = {name: manifest.read(folder / fold / name) for name in present if name.endswith(".csv")}
        together = pd.concat(tables.values()).sort_values("ID", ignore_index=True)
        assert together.to_dict("records") == everything.to_dict("records")  # all of it, each once, unchanged
        facts = json.loads((folder / "folds.json").read_text())["facts"]
        assert facts["labels"] == ["ang", "hap", "sad"]
        sizes = {name: len(tables.get(f"{name}.csv", ())) for name in audit.PARTS}
        assert facts["sizes"][fold] == sizes
        tested += tables["test.csv"]["ID"].tolist()
    assert sorted(tested) == everything["ID"].tolist()


def test_made_again_it_says_so_and_rewrites_nothing(stage):
    stage(0)
    stage(1)
    before = snapshot(Path("manifests"))
    assert "is already made" in stage(0)[1] and "is already made" in stage(1)[1]
    assert snapshot(Path("manifests")) == before


def test_another_validation_goes_to_a_folder_of_its_own(stage):
    stage(0)
    stage(1)
    before = snapshot(Path("manifests"))
    assert stage(1, "--valid", "recordings")[0] == 0
    after = snapshot(Path("manifests"))
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[2] for name in set(after) - set(before)} == {"speaker-valid_recordings"}
    # The protocol's default, named, is the default.
    assert "is already made" in stage(1, "--valid", "partner")[1]


def test_a_manifest_that_was_touched_is_made_again(stage):
    stage(0)
    stage(1)
    before = snapshot(Path("manifests"))
    Path("manifests/own/speaker/1A/test.csv").unlink()
    with open("manifests/own/speaker/2A/train.csv", "a") as file:
        file.write("\n")
    assert stage(1)[0] == 0
    assert {name: text for name, (_, text) in snapshot(Path("manifests")).items()} == {
        name: text for name, (_, text) in before.items()
    }


def test_a_changed_corpus_is_refused_unless_forced(stage, own_table):
    stage(0)
    stage(1)
    before = snapshot(Path("manifests"))
    own_table.write_text(own_table.read_text().replace("so be it", "so it be"))
    for number, name in ((0, "manifests/own"), (1, "manifests/own/speaker")):
        code, _, errors = stage(number)
        assert code == 2 and snapshot(Path("manifests")) == before
        error, remedy = errors.splitlines()
        assert error.startswith(f"error: stage {number}: {name} was made with other inputs: utterances (")
        assert "--force true" in remedy
        stage(number, "--force", "true")
        before = snapshot(Path("manifests"))
        assert stage(number)[0] == 0
    assert (manifest.read(Path("manifests/own/speaker/1A/train.csv"))["wrd"] == "SO IT BE ZIGZAG").any()


def test_forced_folds_leave_none_of_another_corpus_behind(stage, own_table):
    stage(0)
    stage(1)
    own_table.write_text(own_table.read_text().replace(",2B,", ",2C,"))
    stage(0, "--force", "true")
    stage(1, "--force", "true")
    folders = {path.name for path in Path("manifests/own/speaker").iterdir()}
    assert folders == {"1A", "1B", "2A", "2C", "folds.json", "leaks.csv"}


def test_an_emotion_that_no_training_part_knows_is_refused(stage, own_table):
    lines = own_table.read_text().splitlines()
    lines = [line.replace(",sad,", ",hap,") if ",1A," not in line else line for line in lines]
    own_table.write_text("\n".join(lines))
    stage(0)
    code, _, errors = stage(1)
    assert code == 2 and "fold 1A: no sad in the training part" in errors
    assert not Path("manifests/own/speaker/folds.json").exists()


def test_stage_1_before_stage_0_is_refused(stage):
    code, said, errors = stage(1)
    assert (code, said) == (2, "") and "there is no manifest manifests/own/all.csv" in errors
    assert not Path("manifests").exists()


def test_odd_names_come_through_both_stages(stage, own_table):
    """A path with `$`, and IDs that look like numbers and missing values."""
    (own_table.parent / "wav" / "10A0.wav").rename(own_table.parent / "wav" / "a$data_root$.wav")
    text = own_table.read_text().replace("10A0,wav/10A0.wav", "NA,wav/a$data_root$.wav")
    own_table.write_text(text.replace("\n10A1,", "\n1e5,").replace("\n11A0,", "\nnull,"))
    stage(0)
    assert stage(1)[0] == 0
    tested = manifest.read(Path("manifests/own/speaker/1A/test.csv")).set_index("ID")
    assert {"NA", "1e5", "null"} < set(tested.index)
    wav = manifest.resolve(tested["wav"], own_table.parent)["NA"]
    assert wav == f"{own_table.parent}/wav/a$data_root$.wav" and Path(wav).is_file()
    options = parse(["--corpus", "own", "--hparams", "hparams/mini.yaml"])
    assert options.all_folds() == ["1A", "1B", "2A", "2B"]
