"""What runs have learned of the layers: read from their decodings, in words and as a picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local.core.markers import Marker
from local.pages import layer_plots
from local.scoring import layer_shares

SHARES = {("1", "01F"): [0.2, 0.3, 0.5], ("1", "01M"): [0.3, 0.3, 0.4], ("2", "01F"): [0.1, 0.3, 0.6]}


def run(root: Path, seed: str, fold: str, **facts) -> Path:
    folder = root / f"seed{seed}" / fold
    folder.mkdir(parents=True)
    Marker(folder / "decode.json", {}).write(epoch=1, **facts)
    return folder


def test_words_give_mean_and_spread_over_folds_and_seeds(tmp_path):
    shares = layer_shares.of_runs([run(tmp_path, *key, layer_shares=each) for key, each in SHARES.items()])
    assert list(shares.columns) == layer_shares.COLUMNS and len(shares) == 9
    (line,) = layer_shares.in_words(shares)
    assert "over 3 runs" in line and line.endswith("0 0.200 (0.100), 1 0.300 (0.000), 2 0.500 (0.100)")
    assert "the largest is that of state 2" in line and "would be 0.333" in line


def test_one_run_has_no_spread(tmp_path):
    (line,) = layer_shares.in_words(layer_shares.of_runs([run(tmp_path, "1", "01F", layer_shares=[0.25, 0.75])]))
    assert line.endswith("Means: 0 0.250, 1 0.750")


@pytest.mark.parametrize("without", ["fact", "file"])
def test_runs_without_them_have_no_row(tmp_path, without):
    runs = [run(tmp_path, "1", "01F", layer_shares=[0.5, 0.5])]
    runs.append(run(tmp_path, "1", "01M") if without == "fact" else tmp_path / "seed1" / "02F")
    shares = layer_shares.of_runs(runs)
    assert shares.empty and layer_shares.in_words(shares) == []


def test_the_picture_says_its_figures(tmp_path):
    shares = layer_shares.of_runs([run(tmp_path, *key, layer_shares=each) for key, each in SHARES.items()])
    svg = layer_plots.layer_shares("layers", shares)
    assert "0: 0.200 (0.100 to 0.300)." in svg and "2: 0.500 (0.400 to 0.600)." in svg
    assert len(re.findall("<use ", svg)) >= 9 + 3  # a dot of each run and state, and the means
    assert layer_plots.layer_shares("layers", shares) == svg
