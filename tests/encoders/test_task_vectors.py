"""Merged encoders: the weights are theta0 and shares of the task vectors, and nothing learns but the shares."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import tiny_models
import torch
from tiny_models import padded, waves
from tiny_training import Corpus, build, resumed
from torch import Tensor

from local.core.errors import UserError
from local.encoders import Encoder, load_encoder, task_vectors

FAMILIES = ("wav2vec2-group", "hubert-layer", "wavlm-group", "data2vec-audio", "w2v-bert", "whisper")
BATCH = padded(waves(16000, 9017))
every_family = pytest.mark.parametrize(
    "family", [FAMILIES[0], *(pytest.param(each, marks=pytest.mark.slow) for each in FAMILIES[1:])]
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny_models.save(root / family, family) for family in FAMILIES}


def trained(encoder: Encoder, seed: int) -> dict[str, Tensor]:
    """The tensors of an encoder after a training, of which there was none: what would be trained is a bit different."""
    generator = torch.Generator().manual_seed(seed)
    learns = {name for name, weight in encoder.model.named_parameters() if weight.requires_grad}
    return {
        name: tensor + 0.03 * torch.randn(tensor.shape, generator=generator) if name in learns else tensor.clone()
        for name, tensor in encoder.model.state_dict().items()
    }


def merged(folder: str, start: float = 0.5, **loading) -> tuple[Encoder, dict[str, dict[str, Tensor]]]:
    """A merged encoder, and the two that it is merged of."""
    encoder = load_encoder(folder, **loading)
    tasks = {"ctc": trained(encoder, 1), "emotion": trained(encoder, 2)}
    task_vectors.add(encoder, tasks, start)
    return encoder, tasks


def plain(folder: str, weights: Mapping[str, Tensor] | None = None, **loading) -> Encoder:
    """A plain encoder, with other weights if they are given."""
    encoder = load_encoder(folder, **loading).eval()
    if weights:
        encoder.model.load_state_dict(weights)
    return encoder


def frames(encoder: Encoder) -> Tensor:
    found, n_frames = encoder(*BATCH)
    return found[torch.arange(found.shape[1]) < n_frames[:, None]]


def set_shares(encoder: Encoder, *shares: float) -> None:
    encoder.task_vectors.coefficients.data[:] = torch.tensor(shares)


@every_family
@torch.no_grad()
def test_shares_of_0_are_the_pretrained_encoder_to_the_bit_and_a_1_is_the_trained_one(folders, family):
    encoder, tasks = merged(folders[family])
    encoder.eval()
    set_shares(encoder, 0.0, 0.0)
    assert torch.equal(frames(encoder), frames(plain(folders[family])))
    for place, task in enumerate(tasks):
        set_shares(encoder, *(float(place == other) for other in range(2)))
        expected = frames(plain(folders[family], tasks[task]))
        torch.testing.assert_close(frames(encoder), expected, rtol=0, atol=2e-5)
        assert (expected - frames(plain(folders[family]))).abs().max() > 0.01


@every_family
@torch.no_grad()
def test_once_merged_it_is_a_plain_encoder_of_the_same_frames(folders, family):
    encoder, tasks = merged(folders[family])
    encoder.eval()
    shares = encoder.task_vectors.coefficients
    shares.copy_(torch.linspace(-0.2, 0.9, shares.numel()).view_as(shares))
    before, found, table = (
        dict(plain(folders[family]).model.state_dict()),
        frames(encoder),
        encoder.task_vectors.table(),
    )
    names = encoder.task_vectors.of_weights
    task_vectors.merge(encoder)
    assert encoder.task_vectors is None and encoder.model.state_dict().keys() == before.keys()
    weights = encoder.model.state_dict()
    parts = [*table["ctc"]]
    for name, part in names.items():
        each = [table[task][parts[part]] * (tasks[task][name] - before[name]).double() for task in tasks]
        torch.testing.assert_close(weights[name].double(), before[name].double() + sum(each), rtol=0, atol=1e-6)
    torch.testing.assert_close(frames(encoder), found, rtol=0, atol=1e-5)
    torch.testing.assert_close(frames(plain(folders[family], weights)), found, rtol=0, atol=1e-5)


@every_family
def test_the_shares_alone_get_a_gradient_that_of_the_weights_along_the_task_vectors(folders, family):
    encoder, tasks = merged(folders[family], start=0.3)
    frames(encoder.train()).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (name == "task_vectors.coefficients"), name
    begun = plain(folders[family])
    before = {name: tensor.clone() for name, tensor in begun.model.state_dict().items()}
    mixed = {name: tensor + 0.3 * sum(tasks[task][name] - tensor for task in tasks) for name, tensor in before.items()}
    begun.model.load_state_dict(mixed)
    frames(begun).square().sum().backward()
    parts = encoder.task_vectors.parts
    for place, task in enumerate(tasks):
        expected = torch.zeros(len(parts))
        for name, part in encoder.task_vectors.of_weights.items():
            gradient = begun.model.get_parameter(name).grad
            expected[part] += 0.0 if gradient is None else (gradient * (tasks[task][name] - before[name])).sum()
        found = encoder.task_vectors.coefficients.grad[:, place]
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
        assert found.abs().min() > 0


@pytest.mark.parametrize(
    ("family", "loading", "parts"),
    [
        ("wav2vec2-group", {}, ["front", "1", "2"]),
        ("hubert-layer", {}, ["front", "1", "2", "output"]),
        ("whisper", {"freeze_cnn": True}, ["1", "2", "output"]),
        ("whisper", {"freeze_layers": 1}, ["2", "output"]),
    ],
)
def test_parts_are_those_that_would_be_trained(folders, family, loading, parts):
    encoder, _ = merged(folders[family], **loading)
    assert encoder.task_vectors.parts == parts
    assert encoder.task_vectors.table() == {task: dict.fromkeys(parts, 0.5) for task in ("ctc", "emotion")}
    before = plain(folders[family], **loading)
    if before.frozen_layers:
        assert encoder.lowest_signature() == before.lowest_signature()
        assert [*map(torch.sum, encoder.lowest_weights())] == [*map(torch.sum, before.lowest_weights())]
        rows, n_frames = encoder.train().lowest(*BATCH)
        encoder(rows.half(), n_frames)[0].sum().backward()  # of stored rows, as in training
        assert encoder.task_vectors.coefficients.grad.abs().min() > 0


def test_it_stays_in_evaluation_mode_and_its_merged_weights_in_single_precision(folders):
    encoder, _ = merged(folders["wav2vec2-group"], spec_augment={"mask_time_prob": 0.5, "mask_time_length": 2})
    torch.testing.assert_close(frames(encoder.train()), frames(encoder.eval()), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        weights = encoder.task_vectors.merged(encoder.model)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@torch.no_grad()
def test_an_utterance_has_the_same_frames_alone_and_in_a_batch(folders):
    encoder, _ = merged(folders["wav2vec2-group"])
    (long, short), n_frames = encoder.eval()(*BATCH)
    alone, (n,) = encoder(*padded(waves(16000, 9017)[1:]))
    torch.testing.assert_close(alone[0, :n], short[: n_frames[1]], rtol=0, atol=1e-4)
    assert long.shape[0] > n


def test_an_error_within_leaves_the_weights_in_place(folders):
    encoder, _ = merged(folders["wav2vec2-group"])
    before = dict(encoder.model.named_parameters())
    with pytest.raises(ZeroDivisionError), encoder.task_vectors.applied(encoder.model):
        raise ZeroDivisionError
    after = dict(encoder.model.named_parameters())
    assert [*after] == [*before] and all(after[name] is before[name] for name in before)


def test_a_run_of_a_merged_encoder_resumes_to_the_last_bit(tmp_path):
    corpus = Corpus(tmp_path)

    def brain(name: str):
        made = build(corpus, tmp_path / name)
        encoder = made.system.encoder
        task_vectors.add(encoder, {"ctc": trained(encoder, 1), "emotion": trained(encoder, 2)}, 0.5)
        return made

    whole = resumed(brain, corpus)
    assert len(whole.optimizer.state) == 1 + 4  # the shares, and two layers
    assert not torch.equal(whole.system.encoder.task_vectors.coefficients, torch.tensor(0.5).expand(3, 2))


def test_what_cannot_be_merged_is_refused(folders):
    encoder = load_encoder(folders["whisper"])
    tasks = {"ctc": trained(encoder, 1), "emotion": trained(encoder, 2)}
    name = "layers.0.fc1.weight"
    for spoilt, why in (
        ({key: tensor for key, tensor in tasks["ctc"].items() if key != name}, f"ctc_run: its encoder has no {name}"),
        (
            tasks["ctc"] | {name: torch.zeros(2, 3)},
            rf"ctc_run: {name} of its encoder is \[2, 3\], here it is \[64, 32\]",
        ),
    ):
        with pytest.raises(UserError, match=why):
            task_vectors.add(encoder, tasks | {"ctc": spoilt}, 0.5)
    with pytest.raises(UserError, match="the whole encoder is frozen"):
        task_vectors.add(load_encoder(folders["whisper"], freeze=True), tasks, 0.5)
    encoder.adapted = True
    with pytest.raises(UserError, match="has adapters"):
        task_vectors.add(encoder, tasks, 0.5)


def test_statistics_of_batch_norm_that_a_training_has_changed_are_refused(folders):
    encoder = load_encoder(folders["wav2vec2-group"])
    encoder.model.norm = torch.nn.BatchNorm1d(3)
    tasks = {"ctc": trained(encoder, 1), "emotion": trained(encoder, 2)}
    tasks["emotion"]["norm.running_var"] = torch.full((3,), 2.0)
    with pytest.raises(UserError, match=r"emotion_run: its training has changed norm\.running_var"):
        task_vectors.add(encoder, tasks, 0.5)
