"""Stage 0: the table that it writes of a corpus. Corpora with faults: `tests/whole/test_bad_corpora.py`."""

from __future__ import annotations

import json
from pathlib import Path

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
