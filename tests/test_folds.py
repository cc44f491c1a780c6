"""Stage 1: what it writes of each fold, what it keeps and overwrites, and what it refuses to write."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from local import folds, prepare
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.command_line import parse
from local.folds import make_folds
from local.pages import results
from local.splits import audit, checks


@pytest.fixture
def stage(workplace, own_table, monkeypatch, capsys):
    """Run stage 0 or 1 on own.csv as run.sh does; return exit code, stdout and stderr."""

    def run(number: int, *words: str) -> tuple[int, str, str]:
        given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", *words]
        monkeypatch.setattr("sys.argv", [f"stage {number}", *given])
        code = 0
        try:
            (prepare, folds)[number].main()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time of writing and its contents."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["1A", "1B", "2A", "2B"]),
        (["--valid", "none"], ["1A", "1B", "2A", "2B"]),
        (["--protocol", "session"], ["s1", "s2"]),
        (["--protocol", "recording"], [f"part{i}" for i in range(10)]),
    ],
)
def test_the_files_of_every_fold(stage, own_corpus, words, names):
    code, _, errors = stage(1, *words)
    assert (code, errors) == (0, "")
    protocol = words[1] if "--protocol" in words else "speaker"
    folder = Path("manifests/own") / (protocol + "-valid_none" * ("none" in words))
    assert {path.name for path in folder.iterdir()} == {*names, "folds.json", "leaks.csv"}
    everything = manifest.read(Path("manifests/own/all.csv"))
    tested = []
    for fold in names:
        present = {path.name for path in (folder / fold).iterdir()}
        held_out = set() if "none" in words else {"valid.csv"}
        assert present == {"train.csv", "test.csv", "tokenizer.model"} | held_out
        tables = {name: manifest.read(folder / fold / name) for name in present if name.endswith(".csv")}
        together = pd.concat(tables.values()).sort_values("ID", ignore_index=True)
        assert together.to_dict("records") == everything.to_dict("records")  # all of it, each once, unchanged
        facts = json.loads((folder / "folds.json").read_text())["facts"]
        assert facts["labels"] == ["ang", "hap", "sad"]
        sizes = {name: len(tables.get(f"{name}.csv", ())) for name in checks.SETS}
        assert facts["sizes"][fold] == sizes
        tested += tables["test.csv"]["ID"].tolist()
    assert sorted(tested) == everything["ID"].tolist()


@pytest.mark.parametrize("names", [("NA", "007", "1e5", "null"), ("nan", "None", "inf", "true")])
def test_folds_may_have_any_name(stage, own_table, names):
    text = own_table.read_text()
    for speaker, name in zip(("1A", "1B", "2A", "2B"), names, strict=True):
        text = text.replace(f",{speaker},", f",{name},")
    own_table.write_text(text.replace(",s1,", f",{names[3]},").replace(",s2,", f",{names[1]},"))
    folder = Path("manifests/own")
    assert stage(0)[0] == stage(1, "--folds", " ".join(names[1:]))[0] == 0
    assert stage(1, "--protocol", "session", "--valid", "recordings")[0] == 0
    facts = json.loads((folder / "speaker" / "folds.json").read_text())["facts"]
    assert sorted(facts["sizes"]) == sorted(names)
    for name in names:
        assert manifest.read(folder / "speaker" / name / "test.csv")["spk_id"].unique().tolist() == [name]
    for name in names[1::2]:
        assert manifest.read(folder / "session" / name / "test.csv")["session"].unique().tolist() == [name]
    leaks = audit.read_leaks(folder / "speaker" / "leaks.csv")
    assert sorted(leaks["fold"].unique()) == sorted(names) and leaks["count"].dtype == "int64"
    assert "is already made" in stage(1)[1]


def test_made_again_it_says_so_and_rewrites_nothing(stage, own_corpus):
    before = snapshot(Path("manifests"))
    assert "is already made" in stage(0)[1] and "is already made" in stage(1)[1]
    assert snapshot(Path("manifests")) == before


def test_another_validation_has_its_own_folder(stage, own_corpus):
    before = snapshot(Path("manifests"))
    assert stage(1, "--valid", "recordings")[0] == 0
    after = snapshot(Path("manifests"))
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[2] for name in set(after) - set(before)} == {"speaker-valid_recordings"}
    # The protocol's default, named, is the default.
    assert "is already made" in stage(1, "--valid", "partner")[1]


def test_a_manifest_that_was_touched_is_made_again(stage, own_corpus):
    before = snapshot(Path("manifests"))
    Path("manifests/own/speaker/1A/test.csv").unlink()
    with open("manifests/own/speaker/2A/train.csv", "a") as file:
        file.write("\n")
    assert stage(1)[0] == 0
    assert {name: text for name, (_, text) in snapshot(Path("manifests")).items()} == {
        name: text for name, (_, text) in before.items()
    }


def test_a_changed_corpus_is_refused_unless_forced(stage, own_corpus, own_table):
    before = snapshot(Path("manifests"))
    own_table.write_text(own_table.read_text().replace("so be it", "so it be"))
    for number, name in ((0, "manifests/own"), (1, "manifests/own/speaker")):
        code, _, errors = stage(number)
        assert code == 2 and snapshot(Path("manifests")) == before
        error, remedy = errors.splitlines()
        assert error.startswith(f"error: stage {number}: {name} was made with other inputs: utterances (")
        assert "--force true" in remedy and "--name" not in remedy  # which changes nothing in these stages
        assert ("give the table another file name" in remedy) == (number == 0)
        stage(number, "--force", "true")
        before = snapshot(Path("manifests"))
        assert stage(number)[0] == 0
    assert (manifest.read(Path("manifests/own/speaker/1A/train.csv"))["wrd"] == "SO IT BE ZIGZAG").any()


def test_where_some_recordings_are_unknown_it_says_why_nothing_validates(stage, own_table):
    with open(own_table, newline="", encoding="utf-8") as file:
        heads, *rows = list(csv.reader(file))
    rows[0][heads.index("recording")] = ""
    with open(own_table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heads, *rows])
    stage(0)
    printed = stage(1, "--protocol", "session")[1]
    assert "no recordings are held out, as 1 of 48 have none: " in printed
    assert "are held out, as" not in stage(1, "--protocol", "session", "--valid", "none")[1]


def test_forced_folds_leave_none_of_another_corpus_behind(stage, own_corpus, own_table):
    own_table.write_text(own_table.read_text().replace(",2B,", ",2C,"))
    stage(0, "--force", "true")
    stage(1, "--force", "true")
    folders = {path.name for path in Path("manifests/own/speaker").iterdir()}
    assert folders == {"1A", "1B", "2A", "2C", "folds.json", "leaks.csv"}


def test_an_emotion_that_a_training_set_lacks_is_refused(stage, own_table):
    lines = own_table.read_text().splitlines()
    lines = [line.replace(",sad,", ",hap,") if ",1A," not in line else line for line in lines]
    own_table.write_text("\n".join(lines))
    stage(0)
    code, _, errors = stage(1)
    assert code == 2 and "fold 1A: no sad in the training set" in errors
    assert not Path("manifests/own/speaker/folds.json").exists()


def test_before_stage_0_it_is_refused(stage):
    code, printed, errors = stage(1)
    assert (code, printed) == (2, "") and "there is no manifest manifests/own/all.csv" in errors
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


def test_sets_are_written_as_any_manifest(workplace, stage, own_table):
    own_table.write_text(own_table.read_text().replace("\n10A1,", '\n"10A1, ""twice""",', 1))
    assert stage(0)[0] == stage(1)[0] == 0
    folder = workplace / "manifests" / "own" / "speaker"
    for path in folder.glob("*/*.csv"):
        manifest.write(workplace / "again.csv", manifest.read(path))
        assert path.read_bytes() == (workplace / "again.csv").read_bytes()
    assert '"10A1, ""twice"""' in (folder / "1A" / "test.csv").read_text()


def test_folds_that_would_fill_a_disk_are_refused_before_anything_is_written(own_corpus, monkeypatch):
    """Four speakers of 12 utterances each: 4 folds of 48 lines."""
    options = parse([*own_corpus, "--valid", "none"])
    monkeypatch.setattr(checks, "MOST_MANIFEST_LINES", 4 * 48 - 1)
    with pytest.raises(UserError, match=r"4 folds of 48 utterances .* 192 lines") as refusal:
        make_folds(options)
    assert "--protocol session" in refusal.value.remedy and not options.folds_folder("none").exists()
    monkeypatch.setattr(checks, "MOST_MANIFEST_LINES", 4 * 48)
    make_folds(options)


def test_text_is_held_out_beside_the_protocol(stage, own_corpus):
    code, printed, errors = stage(1, "--protocol", "session", "--hold-text", "true")
    assert code == 0, errors
    assert "left out" in printed and "these are in no other set" in printed
    folder = Path("manifests/own/session-hold_text")
    for fold in ("s1", "s2"):
        texts = {name: set(pd.read_csv(folder / fold / f"{name}.csv")["wrd"]) for name in ("train", "valid", "test")}
        assert texts["test"] and not texts["test"] & (texts["train"] | texts["valid"])
    assert stage(1, "--protocol", "session")[0] == 0  # the plain protocol has a folder beside it
    assert Path("manifests/own/session/folds.json").exists()


def test_a_fold_whose_speaker_says_no_held_sentence(stage, own_corpus):
    code, _, errors = stage(1, "--valid", "none", "--hold-text", "true")
    assert code == 2
    assert "tests none of the sentences" in errors and "leave out --hold-text" in errors


def test_rows_of_a_table_without_an_emotion_train_and_are_never_tested(stage, own_table, workplace):
    with open(own_table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    bare = [number for number, row in enumerate(rows) if row["emo"] == "sad"][::2]
    for number in bare:
        rows[number] |= {"emo": "", "valence": str(number)}  # a rating that no other utterance has
    with open(own_table, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0], "valence"], restval="")
        table.writeheader()
        table.writerows(rows)
    code, _, errors = stage(0)
    assert code == 2 and "emo is empty" in errors and "--extra-training all-turns" in errors
    code, printed, errors = stage(0, "--extra-training", "all-turns")
    assert (code, errors) == (0, "") and f"extra training all-turns: {len(bare)} utterances without one" in printed
    code, _, errors = stage(1, "--extra-training", "all-turns")
    assert (code, errors) == (0, "")
    names = {rows[number]["ID"] for number in bare}
    for tested in Path("manifests/own/speaker-extra_all_turns").glob("*/test.csv"):
        train, *others = (manifest.read(tested.with_name(f"{name}.csv")) for name in ("train", "valid", "test"))
        more = train[train["emo"] == ""]
        assert len(more) and set(more["ID"]) <= names and (more["valence"] != "").all() and (more["wrd"] != "").all()
        assert not any(names & set(other["ID"]) or (other["emo"] == "").any() for other in others)


def test_extra_training_adds_to_training_sets_alone(stage, own_table, workplace):
    (workplace / "mine.csv").write_text("label,used\nang,ang\nhap,hap\nsad,\n")
    words = ("--labels", "mine.csv")
    for number in (0, 1):
        assert stage(number, *words)[0] == 0
    folder = Path("manifests/own@mine")
    before = snapshot(folder)
    code, _, errors = stage(1, *words, "--extra-training", "all-turns")
    assert code == 2 and "there is no manifests/own@mine/all_turns/extra.csv" in errors
    for number in (0, 1):
        code, printed, errors = stage(number, *words, "--extra-training", "all-turns")
        assert (code, errors) == (0, "")
    assert "extra training all-turns: 8 utterances without one of the emotions, of 16" in printed
    assert {name: known for name, known in snapshot(folder).items() if name in before} == before
    with_extra = folder / "speaker-extra_all_turns"
    sizes = json.loads((with_extra / "folds.json").read_text())["facts"]["sizes"]
    for fold in ("1A", "1B", "2A", "2B"):
        for name in ("valid.csv", "test.csv"):
            assert (with_extra / fold / name).read_bytes() == (folder / "speaker" / fold / name).read_bytes()
        train = manifest.read(with_extra / fold / "train.csv")
        more, rest = train[train["emo"] == ""], train[train["emo"] != ""].reset_index(drop=True)
        pd.testing.assert_frame_equal(rest, manifest.read(folder / "speaker" / fold / "train.csv"))
        assert set(more["spk_id"]) == set(rest["spk_id"]) and set(more["label"]) == {"sad"}
        assert train["ID"].is_monotonic_increasing and sizes[fold]["extra"] == len(more) == 8
        assert sizes[fold]["train"] == len(train)
    leaks = audit.read_leaks(with_extra / "leaks.csv")
    assert set(leaks["kind"]) <= {"recording", "session", "transcript"}
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", *words]
    counted, scaled = results._extra_note(parse([*given, "--extra-training", "all-turns"]))
    assert counted.endswith("here 8 utterances without one of the emotions in a fold's training set.")
    assert {sizes[fold]["train"] for fold in sizes} == {24}
    assert scaled.startswith("So 66.67 per cent of the utterances that train have an emotion. Cross-entropy")
