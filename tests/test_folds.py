"""Stage 1: what it writes of each fold, and what it refuses to write."""

from __future__ import annotations

import pandas as pd
import pytest

from local import folds
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.options import Options, parse
from local.folds import make_folds, refuse_too_many
from local.prepare import prepare


def prepared(table, *words: str) -> Options:
    """The options of a corpus that stage 0 has examined."""
    options = parse(["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml", *words])
    prepare(options)
    return options


def test_the_parts_are_written_as_tables_of_their_own_would_be(workplace, own_table):
    own_table.write_text(own_table.read_text().replace("\n10A1,", '\n"10A1, ""twice""",', 1))
    options = prepared(own_table)
    make_folds(options)
    for part in options.folds_folder("partner").glob("*/*.csv"):
        manifest.write(workplace / "again.csv", manifest.read(part))
        assert part.read_bytes() == (workplace / "again.csv").read_bytes()
    assert '"10A1, ""twice"""' in (options.folds_folder("partner") / "1A" / "test.csv").read_text()


def test_lines_are_those_of_a_manifest(tmp_path, iemocap_table):
    odd = iemocap_table.assign(duration=iemocap_table["duration"] / 3, style=["", 'a "b"', "c,d"] * 1843 + ["", ""])
    manifest.write(tmp_path / "whole.csv", odd)
    manifest.write_lines(tmp_path / "lines.csv", manifest.lines(odd))
    assert (tmp_path / "lines.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_folds_that_would_fill_a_disk_are_refused_before_anything_is_written(workplace, own_table, monkeypatch):
    """Four speakers of 12 utterances each: 4 folds of 48 lines."""
    monkeypatch.setattr(folds, "MOST_LINES", 4 * 48)
    options = prepared(own_table)
    make_folds(options)
    monkeypatch.setattr(folds, "MOST_LINES", 4 * 48 - 1)
    other = prepared(own_table, "--valid", "none")
    with pytest.raises(UserError, match=r"4 folds of 48 utterances .* 192 lines") as refusal:
        make_folds(other)
    assert "--protocol session" in refusal.value.remedy and not other.folds_folder("none").exists()


def test_two_thousand_speakers_are_too_many_for_two_million_utterances_and_ten_sessions_are_not():
    number = pd.Series(range(2_000_000))
    with pytest.raises(UserError, match="2,000 folds"):
        refuse_too_many("speaker", number // 1000)
    refuse_too_many("session", number // 200_000)
