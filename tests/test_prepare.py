"""Stage 0: the table that it writes of a corpus. Corpora with faults: `tests/whole/test_bad_corpora.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from iemocap_tree import SMALL_FACTS, small_release
from releases import make_release

from local.core.errors import UserError
from local.corpora import csv_table, iemocap, manifest
from local.experiment.command_line import parse
from local.experiment.options import check
from local.prepare import prepare


def test_it_writes_the_table(workplace, own_table, capsys):
    prepare(parse(["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]))
    printed = capsys.readouterr().out
    assert "48 utterances (ang 16, hap 16, sad 16)" in printed and "4 speakers" in printed
    table = manifest.read(Path("manifests/own/all.csv"))
    expected = csv_table.read(own_table).table.sort_values("ID", ignore_index=True)
    assert table.to_dict("records") == expected.to_dict("records")
    facts = json.loads(Path("manifests/own/all.json").read_text())["facts"]
    assert facts["root"] == str(own_table.parent.resolve()) and facts["faults"] == []


def test_it_prints_and_keeps_warnings(workplace, own_table, capsys):
    own_table.write_text(own_table.read_text().replace(",well then,", ",nan,"))
    prepare(parse(["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]))
    warnings = json.loads(Path("manifests/own/all.json").read_text())["facts"]["warnings"]
    assert len(warnings) == 1 and warnings[0].startswith("wrd 'nan' (")
    assert f"  warning: {warnings[0]}\n" in capsys.readouterr().out


def test_names_of_columns_are_part_of_what_it_records(workplace, own_table):
    own_table.write_text(own_table.read_text().replace("spk_id", "who", 1))
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    prepare(parse([*words, "--columns", "spk_id=who"]))
    assert json.loads(Path("manifests/own/all.json").read_text())["inputs"]["columns"] == {"spk_id": "who"}
    assert manifest.read(Path("manifests/own/all.csv"))["spk_id"].nunique() == 4
    with pytest.raises(UserError, match=r"made with other inputs: .*columns \({'spk_id': 'who'} -> "):
        prepare(parse([*words, "--columns", "spk_id=who ID=ID"]))
    with pytest.raises(UserError, match=r"there is no column 'whom'"):
        prepare(parse([*words, "--columns", "spk_id=whom"]))


@pytest.mark.parametrize("form", ["csv", "folder"])
def test_a_folder_for_each_emotion(workplace, tmp_path, form, capsys):
    root = make_release(tmp_path / "voices", [f"{emo}/{n}.wav" for emo in ("happy", "sad") for n in range(12)])
    options = parse(["--corpus", form, "--data", str(root), "--hparams", "hparams/mini.yaml"])
    prepare(options)
    assert "24 utterances (happy 12, sad 12)" in capsys.readouterr().out
    assert options.experiment_folder == Path("results/voices/random-OPTIMISTIC/mini")
    again = parse(["--corpus", "voices", "--hparams", "hparams/mini.yaml"])
    assert again.data_root == root.resolve() and len(again.table) == 24


@pytest.mark.parametrize("read", [(), ("votes", "valence", "arousal", "dominance")], ids=["none", "means"])
def test_a_table_of_before_ratings_were_read_is_kept_and_said(workplace, tmp_path, monkeypatch, capsys, read):
    monkeypatch.setattr(iemocap, "FACTS", SMALL_FACTS)
    words = ["--corpus", "iemocap", "--data", str(small_release(tmp_path)), "--hparams", "hparams/mini.yaml"]
    with monkeypatch.context() as earlier:
        earlier.setattr(iemocap, "RATED", read)
        prepare(parse(words))
    paths = [Path("manifests/iemocap/all.csv"), Path("manifests/iemocap/all.json")]
    before = [path.read_bytes() for path in paths]
    assert [name.encode() in before[0] for name in manifest.RATED] == [name in read for name in manifest.RATED]
    assert "made without" not in capsys.readouterr().out
    prepare(parse(words))
    said = capsys.readouterr().out
    missing = ", ".join(name for name in manifest.RATED if name not in read)
    assert f"made without {missing}, which" in said and "--stop-stage 1 --force true" in said
    assert [path.read_bytes() for path in paths] == before and "is already made" in said
    prepare(parse([*words, "--force", "true"]))
    table = manifest.read(paths[0])
    assert set(table["votes"]) == {"neu 1"} and set(table["arousal"]) == {"2"}
    assert set(table["ratings"]) == {"E3.valence 3 E3.arousal 2 E3.dominance 2"}
    prepare(parse(words))
    assert "made without" not in capsys.readouterr().out and manifest.read(paths[0]).equals(table)


def test_extra_training_has_a_table_of_its_own(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(iemocap, "FACTS", SMALL_FACTS)
    words = ["--corpus", "iemocap", "--data", str(small_release(tmp_path)), "--hparams", "hparams/mini.yaml"]
    prepare(parse(words))
    before = {path: path.read_bytes() for path in Path("manifests").rglob("*") if path.is_file()}
    options = parse([*words, "--extra-training", "all-turns"])
    with pytest.raises(UserError, match=r"there is no manifests/iemocap/all_turns/extra.csv"):
        options.extra_file()
    for _ in range(2):
        prepare(options)
    assert "extra training all-turns: 6 utterances without one of the emotions" in capsys.readouterr().out
    extra = manifest.read(Path("manifests/iemocap/all_turns/extra.csv"))
    assert (extra["emo"] == "").all() and "label" not in extra and len(extra) == 6
    assert {path: path.read_bytes() for path in before} == before
    folder, everything, root = options.audio()
    assert (folder, len(everything), root) == (Path("manifests/iemocap/all_turns"), 20, options.data_root)
    assert parse(words).audio()[0] == Path("manifests/iemocap")


def test_own_data_that_is_there_already_is_named_where_its_table_is_not_given(own_corpus):
    with pytest.raises(UserError, match="corpus own is of your own data, and stage 0 looks at it again") as error:
        prepare(parse(["--corpus", "own"]))
    assert "--stage 1" in error.value.remedy


def test_a_corpus_without_further_turns_is_refused_by_name(workplace, own_table):
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    with pytest.raises(UserError, match="--extra-training all-turns: corpus own has no utterances but those with one"):
        prepare(parse([*words, "--extra-training", "all-turns"]))
    with pytest.raises(UserError, match=r"is for one corpus, and nemo\+emodb is of several"):
        check(parse(["--corpus", "nemo emodb", "--extra-training", "all-turns"]))
    with pytest.raises(UserError, match="'all' is not known"):
        parse([*words, "--extra-training", "all"])
