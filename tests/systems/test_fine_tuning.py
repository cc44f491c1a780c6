"""Plain fine-tuning: what is frozen, cut, masked and weighted, and what every system must pass."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
import torch.nn.functional as F
from paths import REPOSITORY
from system_checks import assert_alone_as_in_a_batch, inputs, learns_eight, losses_of_steps, sounds, targets
from torch import Tensor

from local.config.hparams import read_values
from local.data.class_weights import class_weights
from local.data.feature_store import CnnStore, kind_of_store
from local.encoders import build_encoder, load_encoder
from local.encoders.base import pad_batch
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems import Outputs
from local.systems.fine_tuning import MASKS, FineTuning

TINY = tiny_models.SIZE | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
NO_DROPOUT = {name: value for name, value in tiny_models.STEADY.items() if name != "mask_time_prob"}
YAML = read_values(REPOSITORY / "hparams" / "table3" / "fine_tuning.yaml")


def system(family: str = "wav2vec2", **values) -> FineTuning:
    torch.manual_seed(1)
    if family == "whisper":
        config = tiny_models.config(family).to_dict() | {"max_source_positions": 1500}
        encoder = build_encoder(config, {"chunk_length": 30})
    else:
        encoder = build_encoder({"model_type": family} | TINY | NO_DROPOUT | values, {"do_normalize": True})
    return FineTuning(encoder, 4)


def trained(made: FineTuning) -> set[str]:
    return {name for name, each in made.named_parameters() if each.requires_grad}


def test_cnn_and_projection_are_bit_identical_after_some_steps_and_all_the_rest_has_moved():
    made = system()
    before = {name: each.clone() for name, each in made.state_dict().items()}
    losses_of_steps(made, sounds(1.0, 0.7))
    moved = {name for name, each in made.state_dict().items() if not torch.equal(each, before[name])}
    frozen = (
        "encoder.model.feature_extractor.",
        "encoder.model.feature_projection.",
        "encoder.model.masked_spec_embed",
    )
    assert trained(made) == {name for name in before if not name.startswith(frozen)}
    # The bias of the keys changes no attention.
    assert moved == {name for name in trained(made) if not name.endswith("k_proj.bias")} | (moved & trained(made))


def test_of_whisper_the_two_convolutions_and_the_positions_are_frozen():
    rest = {name for name, _ in system("whisper").named_parameters()} - trained(system("whisper"))
    assert {name.split(".")[2] for name in rest} == {"conv1", "conv2", "embed_positions"}


def test_parameters_of_the_base_model():
    with torch.device("meta"):
        made = FineTuning(build_encoder({"model_type": "wav2vec2"}, {}), 4)
    sizes = {name: each.numel() for name, each in made.named_parameters() if each.requires_grad}
    blocks = sum(size for name, size in sizes.items() if ".encoder.layers." in name)
    head = sum(size for name, size in sizes.items() if name.startswith("emotion_head."))
    assert (blocks, head, sum(sizes.values())) == (85_054_464, 3_076, 89_778_564)


@torch.no_grad()
def test_the_logits_are_those_of_the_formula():
    made, wav = system().eval(), sounds(3.0)[0][None]
    frames = made.encoder.model(F.layer_norm(wav, wav.shape[1:], eps=1e-7)).last_hidden_state[0]
    assert frames.shape == (149, 32)
    expected = made.emotion_head(torch.stack([frame.clamp(min=0) for frame in frames]).mean(0))
    torch.testing.assert_close(made(wav, torch.tensor([48_000])).emotion[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_an_utterance_has_the_same_logits_alone_and_in_any_batch(family):
    assert_alone_as_in_a_batch(system(family), sounds(2.0, 1.3, 0.1, 0.01))


@torch.no_grad()
@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_the_audio_is_cut_at_10_seconds(family):
    made, wav = system(family).eval(), sounds(12.0)[0]
    assert made.max_samples is None

    def logits(*wavs: Tensor) -> Tensor:
        return made(pad_batch(list(wavs)), torch.tensor([len(wav) for wav in wavs])).emotion

    # Whisper's mel spectra and wav2vec's normalisation depend on all of what is read.
    torch.testing.assert_close(logits(wav, wav[:20_000])[0], logits(wav[:160_000])[0], rtol=0, atol=1e-5)
    assert not torch.allclose(logits(wav)[0], logits(wav[:150_000])[0], rtol=0, atol=1e-5)
    if family == "wav2vec2":
        stored, n_frames = inputs(made, [wav])
        assert n_frames.tolist() == [499]
        torch.testing.assert_close(made(stored, n_frames).emotion, logits(wav), rtol=0, atol=1e-5)


def test_the_cut_and_the_whole_have_stores_of_their_own():
    made, audio = system(), SimpleNamespace(fingerprint="of the audio")
    assert kind_of_store(made) is CnnStore
    cut = CnnStore.fingerprint(audio, made.encoder)
    made.encoder.most_samples = None
    assert CnnStore.fingerprint(audio, made.encoder) != cut


def masked(made: FineTuning, n_frames: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What is masked of a batch of ones: [B, T] frames and [B, d] features."""
    made.train()
    model = made.encoder.model
    with torch.no_grad():
        model.masked_spec_embed.fill_(2.0)
    model.feature_projection.forward = lambda hidden: torch.ones(*hidden.shape[:2], width)
    seen = []
    model.encoder.pos_conv_embed.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    made.encoder(torch.zeros(len(n_frames), int(n_frames.max()), 16), n_frames)
    # A feature is zero in all frames, a masked frame 2 in all others.
    return (seen[0] == 2).any(2), (seen[0] == 0).all(1)


def test_the_shares_of_the_masks():
    made, n_frames = system(hidden_size=64), torch.full((64,), 499)
    np.random.seed(1)
    frames, features = masked(made, n_frames, 64)
    # 2 or 3 spans of 15 of 499, 2.66 on average, which may overlap: 0.060 to 0.090; and 1 span of 5 of 64.
    assert 0.060 < frames.float().mean() < 0.090
    assert frames.sum(1).max() <= 45
    assert features.sum(1).tolist() == [5] * 64
    for row in frames:
        edges = torch.diff(row.int(), prepend=torch.zeros(1), append=torch.zeros(1)).nonzero()[:, 0]
        assert all(end - begin >= 15 for begin, end in edges.view(-1, 2).tolist())
    for row in features:
        begin, end = row.nonzero()[0].item(), row.nonzero()[-1].item()
        assert end - begin == 4
    made.eval()
    assert made.encoder._spec_augment_mask(n_frames, 499) is None


def test_at_least_two_spans_of_frames_within_the_utterance():
    np.random.seed(1)
    frames, _ = masked(system(), torch.tensor([100] * 30 + [200] * 2), 32)
    assert not frames[:30, 100:].any()
    assert (frames[:30].sum(1) > 15).all() and frames[:30].sum(1).max() == 30


def test_the_masks_of_the_base_model_are_to_the_letter_and_of_others_in_proportion():
    with torch.device("meta"):
        config = FineTuning(build_encoder({"model_type": "wav2vec2"}, {}), 4).encoder.model.config
    assert {name: getattr(config, name) for name in MASKS} == MASKS
    assert system().encoder.model.config.mask_feature_length == 3  # 64 x 32 / 768
    whisper = system("whisper").encoder.model.config
    assert (whisper.mask_time_length, whisper.mask_time_min_masks, whisper.mask_feature_prob) == (30, 2, 0.0)


def test_the_loss_is_weighted_by_the_inverse_shares():
    weights = class_weights(YAML["class_weights"], ["ang", "hap", "neu", "sad"], [0] * 6 + [1] * 3 + [2] * 2 + [3])
    torch.testing.assert_close(weights, torch.tensor([12 / 6, 12 / 3, 12 / 2, 12 / 1]) / 4)
    logits, emotions = torch.randn(5, 4), torch.tensor([0, 1, 3, 3, 2])
    each = -logits.log_softmax(1)[torch.arange(5), emotions]
    losses = system().losses(Outputs(logits), targets(emotions)._replace(weights=weights[emotions]))
    torch.testing.assert_close(losses.total, (each * weights[emotions]).sum() / 5)


def test_the_values_of_the_row():
    names = ("epochs", "selection", "batch_size", "lr", "class_weights", "upstream")
    assert [YAML[name] for name in names] == [15, "last", 64, 1e-4, "balanced", None]


def test_equal_seeds_have_equal_losses():
    def losses() -> list[float]:
        np.random.seed(1)
        return losses_of_steps(system(hidden_dropout=0.1), sounds(1.0, 0.6), 5)

    assert losses() == losses()


def test_the_weights_are_named(tmp_path):
    assert system().weights == "no pretraining"
    folder = tiny_models.save(tmp_path / "wav2vec2-tiny", "wav2vec2-group")
    assert FineTuning(load_encoder(folder, freeze_cnn=True), 4).weights == "wav2vec2-tiny"


@torch.no_grad()
def test_a_model_folder_cuts_too(tmp_path):
    made, wav = system().eval(), sounds(11.0)[0][None]
    model_folder.write(tmp_path, Model(made, ["ang", "hap", "neu", "sad"], [], [0], 12.0, {}))
    again = model_folder.read(tmp_path).system
    assert again.encoder.most_samples == 160_000
    length = torch.tensor([wav.shape[1]])
    torch.testing.assert_close(again(wav, length).emotion, made(wav, length).emotion)


@pytest.mark.slow
def test_eight_utterances_are_learned():
    made = system()
    made.encoder.model.config.apply_spec_augment = False
    assert learns_eight(made) < 400
