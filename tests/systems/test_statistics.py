"""The smallest system: what it measures, its independence of the batch, and the defaults of a system."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from system_checks import assert_alone_as_in_a_batch, sounds
from tiny_folders import noise
from torchaudio.functional import resample

from local.core.errors import UserError
from local.data.batches import cut
from local.data.device import batch_limits
from local.data.feature_store import RowStore, kind_of_store
from local.inference import model_folder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.inference.recognizer import EmotionRecognizer
from local.systems import Losses, Outputs, System, Targets
from local.systems.statistics import StatisticsSystem

LENGTHS = (20_000, 7_777, 400, 250, 1)
LABELS = ["ang", "hap", "neu"]


def batch(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Utterances of noise, padded with zeros."""
    wavs = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        wavs[row, :length] = torch.from_numpy(noise(2, seed=row))[:length]
    return wavs, torch.tensor(lengths)


@pytest.fixture
def system() -> StatisticsSystem:
    torch.manual_seed(1)
    made = StatisticsSystem(len(LABELS)).eval()
    made.measure([batch(9000, 20_000), batch(5000)])
    return made.requires_grad_(False)


def test_an_utterance_has_the_same_logits_alone_and_in_any_batch_and_from_its_stored_row():
    made = StatisticsSystem(len(LABELS))
    assert kind_of_store(made) is RowStore
    assert_alone_as_in_a_batch(made, [torch.from_numpy(noise(2, seed=row))[:n] for row, n in enumerate(LENGTHS)])


def test_what_is_measured_is_of_each_utterance_once_and_in_the_checkpoint(system):
    normal = torch.cat([system.standardised(*batch(9000, 20_000)), system.standardised(*batch(5000))])
    torch.testing.assert_close(normal.mean(0), torch.zeros(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(80), atol=1e-3, rtol=0)
    assert list(system.state_dict()) == ["mean", "deviation", "emotion_head.weight", "emotion_head.bias"]


def test_bands_that_are_empty_in_training_do_not_decide_in_use():
    """8 kHz telephone audio, resampled to 16 kHz; then audio with the bands above 4 kHz."""
    wavs = sounds(*[0.8] * 6)
    telephone = [resample((resample(wav, 2, 1) * 2**15).round() / 2**15, 1, 2) for wav in wavs]
    made = StatisticsSystem(4, n_mels=80)
    made.measure([(torch.stack(telephone), torch.tensor([len(wav) for wav in telephone]))])
    heard = made.standardised(torch.stack(wavs), torch.tensor([len(wav) for wav in wavs]))
    assert 10 < heard.abs().max() < 100  # of some thousands


def test_a_number_of_bands_that_cannot_be_is_refused():
    for n_mels in (0, 81, 10**9):
        with pytest.raises(UserError, match="n_mels"):
            StatisticsSystem(4, n_mels)


# ---------------------------------------------------------------- a system's defaults


def test_the_defaults_of_a_system():
    system = System()
    assert (system.encoder, system.max_samples, system.seconds_per_frame, system.writes_text) == (*[None] * 3, False)
    assert (system.heads(), system.settings(), list(system.state_dict())) == ([], {}, [])
    assert system.measure(iter(())) is None


def test_the_loss_is_the_cross_entropy_alone():
    logits, classes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    losses = System().losses(Outputs(logits), Targets(classes, torch.zeros(2, 0), torch.zeros(2)))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert losses == Losses(pytest.approx(expected), pytest.approx(expected), None, None)


def test_a_system_of_few_parameters_or_none_is_given_whole_batches():
    for system in (StatisticsSystem(4), System()):
        limits = batch_limits("cpu", system, 60)
        assert math.isfinite(limits.overhead)
        assert cut(np.array([1.0, 2, 3, 4]), limits._replace(size=3)) == [slice(0, 2), slice(2, 4)]


# ---------------------------------------------------------------- in use


@pytest.fixture
def folder(system, tmp_path):
    model_folder.write(tmp_path, Model(system, LABELS, [], [0], 2.0, {}))
    return tmp_path


def test_the_model_folder_gives_the_same_emotions_and_no_text(system, folder):
    recognizer = EmotionRecognizer.from_hparams(folder, run_opts={"device": "cpu"})
    analysis = recognizer.analyze(noise(1.3), 16_000)
    wav = torch.from_numpy(noise(1.3))
    expected = system(wav[None], torch.tensor([len(wav)])).emotion.softmax(-1)[0]
    assert list(analysis.posteriors.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert (analysis.transcript, analysis.words, recognizer.writes_text) == ("", [], False)
    assert [window.analysis.words for window in recognizer.follow(noise(3), 16_000)] != []
    assert recognizer.classify_batch(wav[None])[3] == [analysis.emotion]
    with pytest.raises(UserError, match="writes no text"):
        recognizer.transcribe_batch(wav[None])


def test_an_ensemble_of_such_systems(system, tmp_path):
    torch.manual_seed(2)
    members = [system, StatisticsSystem(len(LABELS)).eval()]
    model = Model(Ensemble(members, torch.zeros(2, 0, dtype=torch.long)).eval(), LABELS, [], [0, 0], 2.0, {})
    model_folder.write(tmp_path, model)
    both = model_folder.read(tmp_path).system(*batch(9000, 400))
    mean = torch.stack([member(*batch(9000, 400)).emotion.softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(both.emotion.softmax(-1), mean)
    assert both.tokens is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tokens": ["<pad>"], "sizes": [1]}, "has no tokens"),
        ({"encoder": {"model_type": "wav2vec2"}}, "encoder"),
        ({"preprocessor": {"do_normalize": 1}}, "model_type"),
        ({"settings": {"n_mels": 10**9}}, "n_mels"),
        ({"system": "mtl"}, "has tokens"),
    ],
)
def test_a_description_that_does_not_fit_the_system_is_refused(folder, change, why):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=why):
        model_folder.read(folder)
