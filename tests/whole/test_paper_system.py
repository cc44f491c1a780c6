"""The paper's system is what hparams/mtl_wav2vec2.yaml says: its losses are those of a plain loop, written here.

The loop knows nothing of this project: transformers' model on one unpadded utterance after another, equation 3 of the
paper, and its values as numbers. Of the YAML only the encoder is another, a tiny one without dropout and SpecAugment,
and the epochs are fewer.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import tiny_models
import torch
from paths import REPOSITORY
from speechbrain.utils.seed import seed_everything
from tiny_training import LABELS, Corpus, Recorder, fit
from torch.nn.functional import cross_entropy, ctc_loss
from transformers import Wav2Vec2Model

from local.config import hparams
from local.data.batches import UpdateSampler
from local.data.device import limits
from local.systems.mtl import MultiTaskSystem
from local.training.checkpoints import RunCheckpointer

EPOCHS = 5
TINY = {"epochs": EPOCHS, "device": "cpu", "precision": "fp32", "n_labels": len(LABELS)}


def brain_of_yaml(corpus: Corpus, encoder: str, folder: Path, **changes: object) -> Recorder:
    """The Brain that stage 2 builds from the YAML, of the corpus."""
    values = TINY | {"encoder": encoder, "n_tokens": len(corpus.tokenizer)} | changes
    seed_everything(1, verbose=False)
    values = hparams.build(hparams.resolve(REPOSITORY / "hparams/mtl_wav2vec2.yaml", values))
    system, training = values["system"], corpus.utterances()
    sampler = UpdateSampler(training.durations, values["batch_size"], limits(values, system), values["seed"])
    folder.mkdir()
    brain = Recorder(system, values, folder, sampler, LABELS, corpus.tokenizer, RunCheckpointer(folder / "save"))
    brain.training = training
    return brain


class PlainLoop:
    """L = L_CE + alpha L_CTC: cross-entropy and CTC, summed over a transcript, of utterances one by one."""

    def __init__(self, corpus: Corpus, encoder: str, heads: MultiTaskSystem, alpha: float) -> None:
        self.model = Wav2Vec2Model.from_pretrained(encoder, attn_implementation="eager").train()
        emotion, tokens = torch.nn.Linear(32, len(LABELS)), torch.nn.Linear(32, len(corpus.tokenizer))
        emotion.load_state_dict(heads.emotion_head.state_dict())
        tokens.load_state_dict(heads.token_head.state_dict())
        self.emotion_head, self.token_head, self.alpha = emotion, tokens, alpha
        self.parameters = [p for module in (self.model, emotion, tokens) for p in module.parameters()]
        audio, pieces = corpus.utterances().audio, corpus.tokenizer.pieces
        self.utterances = {
            row.ID: (
                audio[row.ID],
                LABELS.index(row.emo),
                [pieces.index(letter) for letter in row.wrd.replace(" ", "\u2581")],
            )
            for row in corpus.table.itertuples()
        }

    def loss(self, name: str) -> torch.Tensor:
        """L of an utterance."""
        wav, emotion, text = self.utterances[name]
        wav = (wav - wav.mean()) / (wav.var(unbiased=False) + 1e-7).sqrt()
        frames = self.model(wav[None]).last_hidden_state[0]
        loss = cross_entropy(self.emotion_head(frames.mean(0))[None], torch.tensor([emotion]))
        if not text:
            return loss
        log_posteriors = self.token_head(frames).log_softmax(1)[:, None]
        ctc = ctc_loss(log_posteriors, torch.tensor([text]), [len(frames)], [len(text)], blank=0, reduction="sum")
        return loss + self.alpha * ctc

    def losses(self, updates: list[set[str]], lr: float) -> list[float]:
        """Train on these sets of utterances, and return the loss of each: AdamW, a warm-up, a decay to 0, clipping."""
        optimizer = torch.optim.AdamW(self.parameters, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, foreach=False)
        warm, losses = round(0.1 * len(updates)), []
        for number, names in enumerate(updates):
            remaining = (len(updates) - number) / (len(updates) - warm)
            optimizer.param_groups[0]["lr"] = lr * (number / warm if number < warm else remaining)
            optimizer.zero_grad()
            loss = sum(map(self.loss, sorted(names))) / len(names)
            loss.backward()
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
            for gradient in gradients:
                gradient.mul_(min(1.0, 1.0 / norm))
            optimizer.step()
            losses.append(loss.item())
        return losses


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("encoder"), "wav2vec2-group", **tiny_models.STEADY)


@pytest.mark.parametrize(("alpha", "lr"), [(0.1, 5e-5), (0.0, 1e-5)], ids=["joint", "alone"])
def test_the_losses_of_every_update_are_those_of_a_plain_loop(corpus, encoder, tmp_path, alpha, lr):
    changes = {} if alpha else {"alpha": alpha, "lr": lr}  # the paper's two rates
    brain = brain_of_yaml(corpus, encoder, tmp_path / "run", **changes)
    plain = PlainLoop(corpus, encoder, brain.system, alpha)
    fit(brain, None)
    assert [len(names) for names in brain.names] == [8] * 2 * EPOCHS
    expected = plain.losses(brain.names, lr)
    assert brain.update_losses == pytest.approx(expected, rel=1e-6)  # lr 1 % more: 2e-4; alpha 0.1 % more: 6e-4
