"""Pappagari et al.: parameters, shapes, crops, weights, logistic regression, and what every system must pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from system_checks import (
    assert_alone_as_in_a_batch,
    at_random,
    inputs,
    learns_eight,
    losses_of_steps,
    sounds,
    trained_parameters,
)

from local.core.errors import UserError
from local.scoring.metrics import emotion_scores
from local.systems.layers.speaker_nets import SpeechBrainNet
from local.systems.pappagari_xvector import XVectorSystem


def system(**values) -> XVectorSystem:
    torch.manual_seed(1)
    return XVectorSystem(4, **values).eval()


def rows_given(made: XVectorSystem, call) -> list[torch.Tensor]:
    """The rows that the network is given while something is called."""
    seen = []
    hook = made.net.register_forward_pre_hook(lambda _, given: seen.append(given))
    with torch.no_grad():
        call()
    hook.remove()
    return seen


def test_the_parameters():
    made = system()
    counts = [trained_parameters(each) for each in (made.net.stem, made.net.blocks)]
    assert sum(counts) == 1_333_680
    assert trained_parameters(made.net.pooling) == 4128
    assert trained_parameters(made.net.embedding) + trained_parameters(made.norm) == 2_098_688
    assert trained_parameters(made.emotion_head) == 2052
    assert trained_parameters(made) == 3_438_548


def test_the_shapes_of_three_seconds_without_voice_activity():
    made, shapes = system(), []
    made.front_end.voice_activity = False
    made.net.pooling.register_forward_hook(lambda _, given, out: shapes.extend([given[0].shape, out.shape]))
    (rows, n_rows), *_ = rows_given(made, lambda: made(torch.zeros(1, 48_000), torch.tensor([48_000])))
    assert (rows.shape, n_rows.tolist()) == ((1, 296, 23), [296])
    assert shapes == [(1, 37, 128), (1, 32, 128)]


@torch.no_grad()
@pytest.mark.parametrize("values", [{}, {"pool": "lde", "sample_rate": 8000}, {"noise": True}])
def test_an_utterance_has_the_same_logits_alone_and_in_a_batch(values):
    made = system(**values)
    for module in made.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.fill_(0.3)  # or frames of random weights would be thousands, and their squares not exact
    assert_alone_as_in_a_batch(made, sounds(1.0, 2.0, 0.1, 0.01))


@torch.no_grad()
def test_the_logits_are_those_of_the_layers_one_by_one():
    made, rows = at_random(system()), torch.randn(1, 67, 23, dtype=torch.double)
    (convolution, norm), net = made.net.stem, made.net
    maps = norm(F.conv2d(rows[:, None, :64], convolution.weight, padding=3)).relu()
    for number, block in enumerate(net.blocks):
        stride = 2 if number in (3, 7, 13) else 1
        (first, first_norm), (second, second_norm) = block.first, block.second
        inner = first_norm(F.conv2d(maps, first.weight, stride=stride, padding=1)).relu()
        inner = second_norm(F.conv2d(inner, second.weight, padding=1))
        if stride == 2:
            shortcut, shortcut_norm = block.shortcut
            maps = shortcut_norm(F.conv2d(maps, shortcut.weight, stride=2))
        maps = (inner + maps).relu()
    assert maps.shape == (1, 128, 8, 3)
    frames = (maps[0, :, :, 0] + maps[0, :, :, 1] + maps[0, :, :, 2]).T / 3
    vectors = []
    for word, scale in zip(net.pooling.words, net.pooling.scales, strict=True):
        shares = torch.stack([-scale * (frame - word).square().sum().sqrt() for frame in frames]).softmax(0)
        vectors.append(sum(share * (frame - word) for share, frame in zip(shares, frames, strict=True)))
    embedding, norm = net.embedding(torch.cat(vectors)), made.norm
    embedding = (embedding - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    expected = made.emotion_head(embedding.relu())
    torch.testing.assert_close(made(rows, torch.tensor([67])).emotion[0], expected, rtol=1e-5, atol=1e-6)


def test_training_takes_four_seconds_and_use_all_up_to_fifteen():
    made = system()
    rows, n_rows = torch.randn(3, 1600, 23), torch.tensor([1600, 500, 3])
    ((cropped, n_cropped),) = rows_given(made.train(), lambda: made(rows, n_rows))
    assert cropped.shape == (3, 400, 23) and n_cropped.tolist() == [400] * 3
    assert torch.equal(cropped[2], rows[2, :3].repeat(134, 1)[:400])
    start = (rows[1, :, 0] == cropped[1, 0, 0]).nonzero().item()
    assert 0 <= start <= 100 and torch.equal(cropped[1], rows[1, start : start + 400])
    ((whole, n_whole),) = rows_given(made.eval(), lambda: made(rows, n_rows))
    assert n_whole.tolist() == [1496, 496, 8]
    assert torch.equal(whole[0], rows[0, :1496]) and torch.equal(whole[2, :8], rows[2, :3].repeat(3, 1)[:8])


def test_with_noise_training_draws_a_version_and_use_takes_the_recording():
    made = system(noise=True)
    rows, n_rows = torch.arange(7.0).repeat_interleave(23).expand(200, 8, 161), torch.full((200,), 8)
    assert made.front_end.width == 161
    made.train()
    assert set(made.columns(rows).flatten().tolist()) == set(range(7))
    ((given, _),) = rows_given(made.eval(), lambda: made(rows[:2], n_rows[:2]))
    assert (given == 0).all() and given.shape[2] == 23
    in_use = XVectorSystem(4, **made.settings())  # what an export builds: no copy is computed for nothing
    in_use.load_state_dict(made.state_dict())
    assert in_use.front_end.width == 23


@pytest.mark.slow
def test_equal_seeds_give_equal_losses():
    assert losses_of_steps(system(), sounds(0.2, 0.3)) == losses_of_steps(system(), sounds(0.2, 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["attention", "lde"])
def test_eight_utterances_are_learned(pool):
    assert learns_eight(system(pool=pool)) <= 400


def test_weights_of_another_system_of_its_kind(tmp_path):
    first, path = system(), tmp_path / "speakers.safetensors"
    other = {"emotion_head.weight": torch.zeros(9, 512)}  # of other classes
    save_file({name: value.contiguous() for name, value in first.state_dict().items()} | other, path)
    torch.manual_seed(2)
    second = XVectorSystem(4, speaker_net=str(path)).eval()
    assert (first.weights, second.weights) == ("no pretraining", "speakers.safetensors")
    rows, n_rows = inputs(first, sounds(0.5))
    with torch.no_grad():
        assert torch.equal(first.embeddings(rows, n_rows), second.embeddings(rows, n_rows))
    save_file({"net.pooling.words": torch.zeros(1), "net.stem.0.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"net.stem.0.weight of .* is \[1\] instead of \[16, 1, 7, 7\]"):
        XVectorSystem(4, speaker_net=str(path))


def test_logistic_regression_on_the_embeddings_of_speechbrains_network(tmp_path):
    torch.manual_seed(1)
    torch.save(SpeechBrainNet("speechbrain-xvector").model.state_dict(), tmp_path / "embedding_model.ckpt")
    made = XVectorSystem(4, speaker_net=str(tmp_path), classifier="logistic").train()
    assert made.solves and not made.net.training and trained_parameters(made) == trained_parameters(made.emotion_head)
    batch, emotions = inputs(made, sounds(*[0.3] * 12)), torch.arange(12) % 4
    with torch.no_grad():
        made.eval().solve([(*batch, emotions)], None)
        embeddings = made.embeddings(*batch)
        posteriors = made(*batch).emotion.softmax(1)
    standard = (embeddings - embeddings.mean(0)) / embeddings.std(0, correction=0).clamp(min=1e-5)
    expected = LogisticRegression(max_iter=10_000, tol=1e-8).fit(standard, emotions).predict_proba(standard)
    torch.testing.assert_close(posteriors, torch.from_numpy(expected).float(), rtol=0, atol=1e-3)
    again = XVectorSystem(4, **made.settings()).eval()  # without the folder
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(*batch).emotion, made(*batch).emotion)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"classifier": "svm"}, "classifier is 'svm'"),
        ({"classifier": "logistic"}, "speaker_net"),
        ({"pool": "mean"}, "pool is 'mean'"),
        ({"sample_rate": 11_025}, "sample_rate is 11025"),
        ({"net": "ecapa"}, "'ecapa' is not known"),
        ({"net": "speechbrain-resnet", "noise": True}, "front end of its own"),
    ],
)
def test_values_that_cannot_be(values, why):
    with pytest.raises(UserError) as error:
        XVectorSystem(4, **values)
    assert why in f"{error.value.what} {error.value.remedy}"


def test_an_update_of_a_single_utterance():
    made = system().train()
    made(*inputs(made, sounds(0.2))).emotion.sum().backward()
    assert made.net.stem[0].weight.grad.isfinite().all()


def test_the_weighted_f1_by_which_an_epoch_is_chosen_is_that_of_scikit_learn():
    pandas = pytest.importorskip("pandas")
    reference, found = pandas.Series(list("aaabbc")), pandas.Series(list("aabbca"))
    assert emotion_scores(reference, found)["wf1"] == pytest.approx(f1_score(reference, found, average="weighted"))
