"""The coefficients of merged encoders, from run folders to a table and a sentence."""

from __future__ import annotations

from pathlib import Path

from local.core.markers import Marker
from local.scoring import coefficients


def run(place: Path, **facts) -> Path:
    place.mkdir(parents=True)
    Marker(place / "decode.json", {}).write(**facts)
    return place


def test_the_table_and_the_sentence(tmp_path):
    shares = {"ctc": {"front": 0.2, "1": 0.4}, "emotion": {"front": 0.6, "1": 1.0}}
    more = {"ctc": {"front": 0.4, "1": 0.4}, "emotion": {"front": 0.6, "1": 0.0}}
    runs = [run(tmp_path / "seed1" / "F", coefficients=shares), run(tmp_path / "seed1" / "G", coefficients=more)]
    table = coefficients.of_runs(runs)
    assert table.iloc[0].tolist() == ["1", "F", "ctc", "front", 0.2] and len(table) == 8
    (said,) = coefficients.in_words(table)
    assert said.endswith("of ctc front 0.30 (0.14), 1 0.40 (0.00); of emotion front 0.60 (0.00), 1 0.50 (0.71)")
    (alone,) = coefficients.in_words(coefficients.of_runs(runs[:1]))
    assert alone.endswith("of ctc front 0.20, 1 0.40; of emotion front 0.60, 1 1.00")


def test_of_other_runs_there_is_nothing(tmp_path):
    assert coefficients.in_words(coefficients.of_runs([run(tmp_path / "seed1" / "F"), tmp_path])) == []
