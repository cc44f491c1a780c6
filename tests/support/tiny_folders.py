"""Model folders of tiny models with random weights that find words in any noise, and noise for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_models
import torch

from local.encoders import load_encoder
from local.inference import model_folder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems.mtl import MultiTaskSystem

LABELS = ["ang", "hap", "neu"]
TOKENS = ["<pad>", "<unk>", "\u2581", "A", "B"]


def noise(seconds: float, seed: int = 1, rate: int = 16_000) -> np.ndarray:
    """[N] float32 noise that swells and fades three times a second, -10 dBFS at most."""
    times = np.arange(round(seconds * rate)) / rate
    samples = np.random.default_rng(seed).normal(0, 0.1, len(times)) * (1 + np.sin(2 * np.pi * 3 * times)) / 2
    return samples.clip(-0.3, 0.3).astype(np.float32)


def system(folder: Path, family: str = "wav2vec2-group", seed: int = 1) -> MultiTaskSystem:
    """A system whose best tokens vary from frame to frame, as of one that was trained."""
    encoder = load_encoder(tiny_models.save(folder, family, seed=seed))
    made = MultiTaskSystem(encoder, len(LABELS), len(TOKENS), alpha=0.1).eval().requires_grad_(False)
    for head in (made.token_head, made.emotion_head):
        head.weight.mul_(4)
    tokens = made(torch.from_numpy(noise(2))[None], torch.tensor([32_000])).tokens[0]
    made.token_head.weight.mul_(5 / tokens.std())
    made.token_head.bias.sub_(made(torch.from_numpy(noise(2))[None], torch.tensor([32_000])).tokens[0].mean(0))
    return made


def write(top: Path, family: str = "wav2vec2-group", members: int = 1, max_seconds: float = 2.5) -> Path:
    """Write a model folder of one system, or of several as an ensemble, below `top`; return its path."""
    systems = [system(top / f"encoder{seed}", family, seed) for seed in range(1, members + 1)]
    orders = torch.arange(len(TOKENS)).repeat(members, 1)
    made = systems[0] if members == 1 else Ensemble(systems, orders).eval()
    model_folder.write(top / "model", Model(made, LABELS, TOKENS, [len(TOKENS)] * members, max_seconds, {}))
    return top / "model"
