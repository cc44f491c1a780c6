"""The benchmark: what it counts against torch's own counter, what it draws, and a small real run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_models
import torch
from conftest import REPOSITORY
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, Wav2Vec2Config

from local.benchmark import flops
from local.benchmark.__main__ import summary
from local.benchmark.ways import iemocap_durations

BASE = Wav2Vec2Config()


def test_operations_are_those_that_torch_counts():
    config = tiny_models.config("wav2vec2-group")
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 9000))
    assert flops.cnn(config, 9000) + flops.transformer(config, 9000) == pytest.approx(
        counter.get_total_flops(), rel=0.01
    )


def test_the_base_model_asks_for_what_is_known_of_it():
    """About 42 GFLOP a second of audio; about 32 with the CNN frozen, 27 with its output cached."""
    samples = round(4.55 * 16_000)
    per_second = [flops.update(BASE, samples, passes) / 4.55e9 for passes in (3, 1, 0)]
    assert per_second == pytest.approx([42, 32, 27], rel=0.05)


def test_durations_are_iemocaps():
    durations = iemocap_durations(5531)
    assert durations.mean() == pytest.approx(4.55, abs=0.01) and durations.sum() / 3600 == pytest.approx(6.99, abs=0.02)
    assert np.quantile(durations, [0.5, 0.9, 0.95, 0.99]) == pytest.approx([3.58, 8.7, 11.1, 15.5], abs=0.02)
    assert durations.min() == pytest.approx(0.58, abs=0.01) and durations.max() == pytest.approx(34.1, abs=0.3)


def test_ratios_are_taken_within_a_round():
    """Two rounds, the machine half as fast in the second: the ratio is 4 in both, of the medians it would not be."""
    gemm = {"float32": 100e9, "bfloat16": 400e9}
    rows = [
        {"way": way, "round": number, "seconds": seconds, "audio": 10, "flops": 200e9, "peak": 2e9} | gemm
        for number, slow in ((1, 1), (2, 2), (3, 1))
        for way, seconds in (("a", 8 * slow), ("d", 2 * slow))
    ]
    a, d = summary(rows)
    assert (a[2], a[3]) == ("1.25", "1.00") and (d[2], d[3], d[4]) == ("5.00", "4.00", "2.0")
    assert d[5:] == ["100", "100", "25"]  # 200 GFLOP in 2 s; GEMM 100 and 400


def test_a_small_real_run(tmp_path):
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    command = [sys.executable, "-m", "local.benchmark", "--utterances", "4", "--rounds", "1", "--ways", "a d many"]
    command += ["--encoder", str(encoder), "--json", str(tmp_path / "rows.json")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| a", "| d", "| many"]
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["way"] for row in rows] == ["a", "d", "many"]  # the round that warms up does not count
    assert all(row["audio"] == pytest.approx(iemocap_durations(4).sum(), abs=1e-3) for row in rows)
    assert rows[0]["flops"] > rows[1]["flops"] > rows[2]["flops"] > 0


def test_an_unknown_way_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "local.benchmark", "--ways", "z"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert (done.returncode, done.stdout) == (2, "") and "there is no way 'z'" in done.stderr
