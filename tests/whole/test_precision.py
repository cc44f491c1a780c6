"""Mixed precision learns what single precision learns: 200 updates side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import Corpus, build, fit

UPDATES = 200
SMOOTHED = np.ones(20) / 20


def curve(corpus: Corpus, folder: Path, precision: str, seed: int) -> np.ndarray:
    """Loss by update, smoothed over 20."""
    epochs = -(-UPDATES // 3)  # 16 utterances in updates of 6
    brain = build(corpus, folder, system_seed=seed, precision=precision, seed=seed, epochs=epochs, lr=1e-3)
    kinds = set()
    brain.system.token_head.register_forward_hook(lambda _, inputs, output: kinds.add(output.dtype))
    fit(brain, None)
    assert kinds == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {p.dtype for p in brain.system.parameters()} == {torch.float32}
    return np.convolve(brain.update_losses[:UPDATES], SMOOTHED, "valid")


@pytest.mark.slow
def test_bf16_follows_fp32_closer_than_another_seed_does(tmp_path):
    (tmp_path / "corpus").mkdir()
    corpus = Corpus(tmp_path / "corpus")
    single, mixed, other = (
        curve(corpus, tmp_path / f"{precision}-{seed}", precision, seed)
        for precision, seed in (("fp32", 1), ("bf16", 1), ("fp32", 2))
    )
    assert single[-1] < single[0] / 2  # something was learnt
    assert not np.array_equal(single, mixed)
    noise = np.abs(single - other).mean()
    assert np.abs(single - mixed).mean() < noise / 4
    assert mixed[-1] == pytest.approx(single[-1], rel=0.1)
