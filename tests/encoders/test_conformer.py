"""SpeechBrain's conformer against SpeechBrain's own forward on the same weights, and itself in other batches."""

from __future__ import annotations

import pytest
import tiny_conformer
import torch
from tiny_models import padded, waves

from local.encoders import Encoder, build_encoder, description, load_encoder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Encoder, torch.nn.Module]:
    """Ours, and SpeechBrain's."""
    folder = tmp_path_factory.mktemp("models") / "conformer"
    theirs = tiny_conformer.save(folder, tiny_conformer.text())
    return load_encoder(str(folder), freeze=True).eval(), theirs


@torch.no_grad()
def test_frames_are_those_of_speechbrain(made):
    encoder, theirs = made
    for wav in waves(16000, 9999, 3210, 1280):
        expected = theirs(wav[None], torch.ones(1))
        frames, n_frames = encoder(wav[None], torch.tensor([len(wav)]))
        assert n_frames.tolist() == [expected.shape[1]] and frames.shape[2] == encoder.dim == 24
        torch.testing.assert_close(frames, expected, rtol=0, atol=1e-5)
    assert encoder.seconds_per_frame == 0.04


@torch.no_grad()
@pytest.mark.parametrize(("transducer", "norm"), [(True, "global"), (False, "sentence")])
def test_transducers_and_other_norms(tmp_path, transducer, norm):
    theirs = tiny_conformer.save(
        tmp_path, tiny_conformer.text(transducer, norm_type=norm, n_fft="400", win_length="25")
    )
    encoder = load_encoder(str(tmp_path), freeze=True).eval()
    (wav,) = waves(7000)
    frames, _ = encoder(wav[None], torch.tensor([len(wav)]))
    torch.testing.assert_close(frames, theirs(wav[None], torch.ones(1)), rtol=0, atol=1e-5)
    assert encoder.preprocessor == {"n_fft": 400, "win_length": 25, "hop_length": 10}


@torch.no_grad()
def test_an_utterance_is_the_same_in_any_batch(made):
    encoder, _ = made
    wavs = waves(9000, 16000, 1300, 30)
    frames, n_frames = encoder(*padded(wavs))
    assert n_frames.min() >= 2
    for row, count, wav in zip(frames, n_frames.tolist(), wavs, strict=True):
        alone, n_alone = encoder(wav[None], torch.tensor([len(wav)]))
        assert n_alone.tolist() == [count]
        torch.testing.assert_close(row[:count], alone[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_its_description_builds_it_again(made):
    encoder, _ = made
    config, preprocessor = description(encoder)
    assert config["model_type"] == "speechbrain-conformer" and preprocessor["win_length"] == 32
    again = build_encoder(config, preprocessor, freeze=True).eval()
    again.load_state_dict(encoder.state_dict())
    batch = padded(waves(3000))
    assert torch.equal(again(*batch)[0], encoder(*batch)[0])
    assert all(name.startswith("model.") for name in encoder.state_dict())
    with torch.device("meta"):
        build_encoder(config, preprocessor)
