"""Stage 0: the table that it writes of a corpus. Corpora with faults: `tests/whole/test_bad_corpora.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import csv_table, manifest
from local.experiment.options import parse
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
