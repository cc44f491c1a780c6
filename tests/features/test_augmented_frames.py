"""Encodings of an utterance and of its augmented copies: the clean one is the encoder's own, the others masked."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from system_checks import sounds

from local.data.feature_store import RowStore
from local.encoders import Encoder, load_encoder
from local.encoders.base import pad_batch
from local.features import augmented_frames
from local.features.augmented_frames import AugmentedFrames


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("models")
    return {
        family: load_encoder(tiny_models.save(root / family, family), freeze=True).eval()
        for family in ("whisper", "w2v-bert")
    }


@pytest.mark.parametrize("family", ["whisper", "w2v-bert"])
@torch.no_grad()
def test_the_first_is_the_encoders_own_and_the_others_are_of_its_spectra(encoders, family):
    encoder, (wav,) = encoders[family], sounds(1.3)
    frames, n_frames = encoder(wav[None], torch.tensor([len(wav)]))
    count = int(n_frames)
    log_mels, n_spectra = encoder.log_mels(wav[None], torch.tensor([len(wav)]))
    again, _ = encoder.of_log_mels(log_mels, n_spectra)
    assert log_mels.shape[2] == 80 and torch.equal(again, frames)

    rows = RowStore.compute(AugmentedFrames(encoder, 8), wav[None], torch.tensor([len(wav)]))
    encodings = rows.unflatten(1, (8, -1))
    assert rows.shape == (count, 8 * 32) and torch.equal(encodings[:, 0], frames[0, :count])
    assert len({tuple(encodings[:, copy].flatten().tolist()) for copy in range(8)}) == 8

    class Unchanged(AugmentedFrames):
        def augmented(self, log_mels, chance):
            return log_mels

    rows = Unchanged(encoder, 3)(wav[None], torch.tensor([len(wav)]))[0][0]
    torch.testing.assert_close(rows[:count, 32:], frames[0, :count].repeat(1, 2), rtol=0, atol=1e-5)


@torch.no_grad()
def test_copies_are_of_the_utterance_and_the_seed_alone(encoders):
    encoder, wavs = encoders["whisper"], sounds(0.6, 0.9)
    lengths = torch.tensor([len(wav) for wav in wavs])
    rows, n_rows = AugmentedFrames(encoder, 8)(pad_batch(wavs), lengths)
    for row, count, wav in zip(rows, n_rows.tolist(), wavs, strict=True):
        alone = AugmentedFrames(encoder, 8)(wav[None], torch.tensor([len(wav)]))[0][0]
        assert torch.equal(alone, row[:count])
        fewer = AugmentedFrames(encoder, 3)(wav[None], torch.tensor([len(wav)]))[0][0]
        torch.testing.assert_close(fewer, row[:count, : 3 * 32], rtol=0, atol=1e-5)
        other = AugmentedFrames(encoder, 8, seed=1)(wav[None], torch.tensor([len(wav)]))[0][0]
        assert torch.equal(other[:, :32], alone[:, :32]) and not torch.equal(other[:, 32:64], alone[:, 32:64])


def test_masks_are_those_of_librispeech_basic(encoders):
    front_end = AugmentedFrames(encoders["whisper"], 8)
    log_mels = torch.randn(1, 300, 80, generator=torch.Generator().manual_seed(2)) + 3
    mean, bands, stretches = log_mels.mean(), set(), set()
    for seed in range(60):
        made = front_end.augmented(log_mels, torch.Generator().manual_seed(seed))[0]
        masked = torch.isclose(made, mean, rtol=0, atol=1e-6)
        bands.add(int(masked.all(0).sum()))
        stretches.add(int(masked.all(1).sum()))
        torch.testing.assert_close(made[~masked], log_mels[0][~masked])
    assert max(bands) in (26, 27) and min(bands) < 3 and 85 <= max(stretches) <= 100 and min(stretches) < 8


@pytest.mark.parametrize("time_warp", [True, False])
def test_time_is_warped_where_it_is_asked_for(encoders, time_warp, monkeypatch):
    monkeypatch.setattr(augmented_frames, "MOST_BANDS", 0)
    monkeypatch.setattr(augmented_frames, "MOST_SECONDS", 0)
    front_end = AugmentedFrames(encoders["whisper"], 8, time_warp)
    times = torch.arange(300.0)[None, :, None].expand(1, 300, 80)
    made = front_end.augmented(times, torch.Generator().manual_seed(1))[0, :, 0]
    assert made[0] == 0 and made[-1] == 299 and bool((made.diff() > 0).all())
    assert ((made - times[0, :, 0]).abs().max() > 1) == time_warp


def test_a_store_is_of_encoder_and_copies(encoders, tmp_path):
    class Audio:
        fingerprint = "x"

    whisper = encoders["whisper"]
    other = load_encoder(tiny_models.save(tmp_path / "other", "whisper", seed=2), freeze=True).eval()
    made = [
        AugmentedFrames(whisper, 8),
        AugmentedFrames(whisper, 7),
        AugmentedFrames(whisper, 8, time_warp=True),
        AugmentedFrames(whisper, 8, seed=1),
        AugmentedFrames(other, 8),
    ]
    assert len({RowStore.fingerprint(Audio, each) for each in made}) == 5
    assert RowStore.fingerprint(Audio, made[0]) == RowStore.fingerprint(Audio, AugmentedFrames(whisper, 8))
    assert (made[0].seconds_per_row, RowStore.width(made[0])) == (0.02, 256)
