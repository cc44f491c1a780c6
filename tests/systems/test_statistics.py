"""The smallest system: its statistics against numpy, its independence of the batch, and the defaults of a system."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from tiny_folders import noise

from local.core.errors import UserError
from local.data.batches import Limits, cut
from local.data.device import overhead
from local.inference import model_folder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.inference.recognizer import EmotionRecognizer
from local.systems import Losses, Outputs, System, Targets
from local.systems.statistics import HOP, LEAST, WINDOW, StatisticsSystem

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


def mel_filters(count: int) -> np.ndarray:
    """[bins, count] triangles, evenly spaced in mel(f) = 2595 log10(1 + f / 700) from 0 to 8 kHz."""
    top = 2595 * math.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, top, count + 2)]
    frequencies = np.arange(WINDOW // 2 + 1) * 16_000 / WINDOW
    return np.stack(
        [np.interp(frequencies, corners[band : band + 3], [0, 1, 0], 0, 0) for band in range(count)], axis=1
    )


def test_the_statistics_are_those_of_numpy(system):
    wav = noise(1)
    frames = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float64), WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    energies = np.log(np.abs(np.fft.rfft(frames * hann)) ** 2 @ mel_filters(40) + LEAST)
    expected = np.concatenate([energies.mean(0), energies.std(0)])
    found = system.statistics(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_an_utterance_has_the_same_logits_alone_and_in_any_batch(system):
    wavs, lengths = batch(*LENGTHS)
    together = system(wavs, lengths).emotion
    for row, length in enumerate(LENGTHS):
        alone = system(wavs[row : row + 1, :length], lengths[row : row + 1]).emotion
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-4)
    assert together.isfinite().all()


def test_what_is_measured_is_of_each_utterance_once_and_in_the_checkpoint(system):
    rows = torch.cat([system.statistics(*batch(9000, 20_000)), system.statistics(*batch(5000))])
    normal = (rows - system.mean) / system.deviation
    torch.testing.assert_close(normal.mean(0), torch.zeros(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(80), atol=1e-3, rtol=0)
    assert list(system.state_dict()) == ["mean", "deviation", "emotion_head.weight", "emotion_head.bias"]


def test_a_number_of_bands_that_cannot_be_is_refused():
    for n_mels in (0, 81, 10**9):
        with pytest.raises(UserError, match="n_mels"):
            StatisticsSystem(4, n_mels)


# ---------------------------------------------------------------- a system's defaults


def test_the_defaults_of_a_system():
    system = System()
    assert (system.encoder, system.max_samples, system.writes_text) == (None, None, False)
    assert (system.heads(), system.settings(), list(system.state_dict())) == ([], {}, [])
    assert system.measure(iter(())) is None


def test_the_loss_is_the_cross_entropy_alone():
    logits, classes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    losses = System().losses(Outputs(logits), Targets(classes, torch.zeros(2, 0), torch.zeros(2)))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert losses == Losses(pytest.approx(expected), pytest.approx(expected), None, None)


def test_a_system_of_few_parameters_or_none_is_given_whole_batches():
    for system in (StatisticsSystem(4), System()):
        assert math.isfinite(overhead("cpu", system))
        assert cut(np.array([1.0, 2, 3, 4]), Limits(3, 60, overhead("cpu", system))) == [slice(0, 2), slice(2, 4)]


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
