"""The multi-task system, against transformers on the same weights and against sums over all alignments."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import tiny_models
import torch
import torch.nn.functional as F
from tiny_models import STEADY, padded, waves
from torch import Tensor
from transformers import Wav2Vec2ForCTC

from local.core.errors import UserError
from local.data.dataset import Batch
from local.encoders import load_encoder
from local.systems import Losses, Outputs, Targets, cross_entropy
from local.systems.mtl import MultiTaskSystem
from local.training.epoch_log import Tally

LABELS, TOKENS = 3, 6
UNEQUAL = (9600, 6400, 4321, 3200, 8000, 5000, 2500, 4000)  # 7 to 29 frames


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """A wav2vec 2.0 of either norm, without dropout or SpecAugment."""
    root = tmp_path_factory.mktemp("systems")
    return {
        norm: tiny_models.save(root / norm, f"wav2vec2-{norm}", do_normalize=True, **STEADY)
        for norm in ("group", "layer")
    }


def build(folder: str, alpha: float, pooling: str = "mean") -> MultiTaskSystem:
    """The system of a seed, whatever its alpha and pooling."""
    torch.manual_seed(7)
    return MultiTaskSystem(load_encoder(folder), LABELS, TOKENS, alpha, pooling).train()


def targets(*texts: tuple[int, ...], emotion: list[int] | None = None) -> Targets:
    """Targets of these tokens, padded with 0."""
    tokens = torch.zeros(len(texts), max(map(len, texts), default=0), dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.long)
    emotion = emotion or [index % LABELS for index in range(len(texts))]
    return Targets(torch.tensor(emotion), tokens, torch.tensor([len(text) for text in texts]))


TEXTS = targets((1, 2, 2, 3), (5, 4, 3, 2, 1), (1,), (2, 2, 2), (3, 1, 3, 1), (4, 4), (5, 1), (2, 3, 4))


def gradients(system: MultiTaskSystem, loss: Tensor) -> dict[str, Tensor | None]:
    """The gradient of a loss by parameter."""
    system.zero_grad(set_to_none=True)
    loss.backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in system.named_parameters()}


def assert_same_gradients(result: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> None:
    """Equal to 1e-5 of the largest entry of each parameter's gradient."""
    assert result.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient is None:
            assert result[name] is None, name
        else:
            # A key's bias adds the same to all scores of a softmax: its true gradient is 0, and what there is is noise.
            scale = max(gradient.abs().max().item(), 1e-2)
            torch.testing.assert_close(
                result[name], gradient, rtol=0, atol=1e-5 * scale, msg=lambda m, n=name: f"{n} {m}"
            )


# Against transformers


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("norm", "samples"), [("layer", UNEQUAL), ("group", (6400,) * 8), ("layer", (6400,) * 8)])
def test_losses_and_gradients_equal_transformers(folders, norm, samples, alpha):
    system, wavs = build(folders[norm], alpha), waves(*samples)
    losses = system.losses(system(*padded(wavs)), TEXTS)

    settings = {"vocab_size": TOKENS, "pad_token_id": 0, "ctc_loss_reduction": "sum", "ctc_zero_infinity": True}
    model = Wav2Vec2ForCTC.from_pretrained(folders[norm], **settings, final_dropout=0.0).train()
    model.lm_head.load_state_dict(system.token_head.state_dict())
    emotion_head = torch.nn.Linear(32, LABELS)
    emotion_head.load_state_dict(system.emotion_head.state_dict())
    inputs = tiny_models.extractor(f"wav2vec2-{norm}")(
        [wav.numpy() for wav in wavs], sampling_rate=16_000, padding=True, return_tensors="pt"
    )
    assert "attention_mask" in inputs
    labels = TEXTS.tokens.masked_fill(TEXTS.tokens == 0, -100)
    ctc = model(**inputs, labels=labels).loss / len(wavs)
    frames = model.wav2vec2(**inputs).last_hidden_state
    lengths = model._get_feat_extract_output_lengths(torch.tensor(samples)).tolist()
    pooled = torch.stack([row[:length].mean(0) for row, length in zip(frames, lengths, strict=True)])
    ce = F.nll_loss(F.log_softmax(emotion_head(pooled), -1), TEXTS.emotion)
    total = ce + alpha * ctc

    for result, expected in [(losses.ce, ce), (losses.ctc, ctc), (losses.total, total)]:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5, check_dtype=False)
    assert losses.ctc_left_out == 0
    result = gradients(system, losses.total)
    total.backward()
    expected = {f"encoder.model.{name}": p.grad for name, p in model.wav2vec2.named_parameters()}
    expected |= {f"token_head.{name}": p.grad if alpha else None for name, p in model.lm_head.named_parameters()}
    expected |= {f"emotion_head.{name}": p.grad for name, p in emotion_head.named_parameters()}
    assert_same_gradients(result, expected)


# CTC


def minus_log_likelihood(logits: np.ndarray, text: tuple[int, ...]) -> float:
    """Sum the probability of every path of [T, V] logits that collapses to a text."""
    odds = np.exp(logits.astype(np.float64))
    probabilities = odds / odds.sum(1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        collapsed = tuple(token for token, _ in itertools.groupby(path) if token != 0)
        if collapsed == text:
            total += np.prod(probabilities[np.arange(len(path)), path])
    return -np.log(total)


def outputs(n_frames: list[int], vocabulary: int = 3) -> Outputs:
    """Random logits, those of padding frames too."""
    generator = np.random.default_rng(5)
    tokens = generator.normal(size=(len(n_frames), max(n_frames), vocabulary)).astype(np.float32)
    emotion = generator.normal(size=(len(n_frames), LABELS)).astype(np.float32)
    return Outputs(
        torch.from_numpy(emotion).requires_grad_(), torch.from_numpy(tokens).requires_grad_(), torch.tensor(n_frames)
    )


@pytest.fixture(scope="module")
def system(folders) -> MultiTaskSystem:
    return build(folders["group"], alpha=0.5)


def test_ctc_equals_the_sum_over_all_alignments(system):
    texts = [(1, 2), (1, 1), (2,), (1, 2, 1)]
    made = outputs([4, 3, 5, 4])
    losses = system.losses(made, targets(*texts))
    logits = made.tokens.detach().numpy()
    each = [minus_log_likelihood(row[:n], text) for row, n, text in zip(logits, (4, 3, 5, 4), texts, strict=True)]
    assert losses.ctc.item() == pytest.approx(sum(each) / 4, rel=1e-6)
    ce = F.cross_entropy(made.emotion, torch.tensor([0, 1, 2, 0])).item()
    assert losses.ce.item() == pytest.approx(ce, rel=1e-6)
    assert losses.total.item() == pytest.approx(ce + 0.5 * sum(each) / 4, rel=1e-6)


def test_transcripts_that_are_absent_or_do_not_fit_are_left_out_and_counted(system):
    # Each token needs a frame, and a blank between two equal ones: (1, 1) needs 3, (1, 2) needs 2.
    texts = [(), (1, 1), (1, 1), (1, 2), (1, 2, 1), (2, 2, 2)]
    n_frames = [4, 2, 3, 2, 2, 5]
    fits = [False, False, True, True, False, True]
    made = outputs(n_frames)
    losses = system.losses(made, targets(*texts))
    assert losses.ctc_left_out == 3
    cases = zip(made.tokens.detach().numpy(), n_frames, texts, fits, strict=True)
    each = [minus_log_likelihood(row[:n], text) if fit else 0.0 for row, n, text, fit in cases]
    assert np.isfinite(each).all()
    assert losses.ctc.item() == pytest.approx(sum(each) / 6, rel=1e-6)  # mean over all six
    losses.total.backward()
    assert made.tokens.grad.abs().sum((1, 2)).gt(0).tolist() == fits
    assert made.emotion.grad.abs().sum(1).gt(0).all()  # all six train the emotion head


@pytest.mark.parametrize("texts", [[(), (), ()], [(1, 1), (), (1, 2, 1)]], ids=str)
def test_all_left_out_is_finite_and_trains_the_emotions_alone(system, texts):
    made = outputs([2, 2, 2])
    losses = system.losses(made, targets(*texts))
    assert (losses.ctc, losses.ctc_left_out) == (0, 3)
    assert losses.total == losses.ce
    losses.total.backward()
    assert (made.tokens.grad == 0).all()
    expected = (made.emotion.detach().softmax(-1) - F.one_hot(torch.tensor([0, 1, 2]), LABELS)) / 3
    torch.testing.assert_close(made.emotion.grad, expected)


def test_left_out_utterances_through_the_whole_system(folders):
    system = build(folders["layer"], alpha=0.1)
    batch = padded(waves(9600, 1300, 300))  # 29, 3 and 1 frames
    losses = system.losses(system(*batch), targets((1, 2), (3, 3, 3), (), emotion=[0, 1, 2]))
    assert losses.ctc_left_out == 2
    result = gradients(system, losses.total)
    assert all(gradient.isfinite().all() for gradient in result.values() if gradient is not None)


# alpha = 0


def test_alpha_0_leaves_the_token_head_alone(folders):
    batch = padded(waves(*UNEQUAL))
    system = build(folders["layer"], alpha=0.0)
    before = {name: p.detach().clone() for name, p in system.named_parameters()}
    optimizer = torch.optim.AdamW(system.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        losses = system.losses(system(*batch), TEXTS)
        losses.total.backward()
        assert all(p.grad is None for p in system.token_head.parameters())
        optimizer.step()
    after = dict(system.named_parameters())
    assert losses.ctc > 0  # for the log
    assert torch.equal(before["token_head.weight"], after["token_head.weight"])
    assert torch.equal(before["token_head.bias"], after["token_head.bias"])
    assert not torch.equal(before["emotion_head.weight"], after["emotion_head.weight"])


def test_alpha_0_gives_the_encoder_the_gradient_of_the_emotions_alone(folders):
    batch = padded(waves(*UNEQUAL))
    system = build(folders["layer"], alpha=0.0)
    result = gradients(system, system.losses(system(*batch), TEXTS).total)
    expected = gradients(system, F.cross_entropy(system(*batch).emotion, TEXTS.emotion))
    assert result.keys() == expected.keys()
    assert all(
        gradient is None if result[name] is None else torch.equal(result[name], gradient)
        for name, gradient in expected.items()
    )
    other = build(folders["layer"], alpha=0.1)
    other = gradients(other, other.losses(other(*batch), TEXTS).total)
    name = "encoder.model.feature_projection.projection.weight"
    assert not torch.allclose(result[name], other[name])


# Pooling, micro-batches, settings


@pytest.mark.parametrize("pooling", ["mean", "sum"])
@torch.no_grad()
def test_pooling_by_hand(folders, pooling):
    system = build(folders["group"], 0.1, pooling).eval()
    wavs = waves(9600, 3200, 300)
    result = system(*padded(wavs))
    assert result.n_frames.tolist() == [29, 9, 1]
    for wav, logits in zip(wavs, result.emotion, strict=True):
        frames, n_frames = system.encoder(wav[None], torch.tensor([len(wav)]))
        assert frames.shape[1] == n_frames
        pooled = sum(frames[0]) / (n_frames if pooling == "mean" else 1)
        expected = system.emotion_head.weight @ pooled + system.emotion_head.bias
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_sum_is_mean_times_frames(folders):
    frames, n_frames = torch.randn(3, 9, 32), torch.tensor([9, 4, 1])
    mean, total = (build(folders["group"], 0.1, pooling).pooling(frames, n_frames) for pooling in ("mean", "sum"))
    torch.testing.assert_close(total, mean * n_frames[:, None])
    torch.testing.assert_close(mean[1], frames[1, :4].mean(0))


def select(values: Targets, start: int, end: int) -> Targets:
    chosen = {name: value[start:end] for name, value in values._asdict().items() if isinstance(value, Tensor)}
    tasks = values.tasks and {name: labels[start:end] for name, labels in values.tasks.items()}
    return Targets(**chosen | {"tasks": tasks})


@pytest.mark.parametrize(("norm", "weighted"), [("group", False), ("layer", False), ("group", True)])
def test_a_batch_equals_the_weighted_sum_of_its_micro_batches(folders, norm, weighted):
    system, wavs = build(folders[norm], alpha=0.1), waves(*UNEQUAL)
    texts = TEXTS._replace(n_tokens=TEXTS.n_tokens.clone(), weights=torch.rand(8) if weighted else None)
    system.label_smoothing = 0.2 * weighted
    texts.n_tokens[4] = 0  # one without a transcript, so that the CTC means are over different sets
    whole = system.losses(system(*padded(wavs)), texts)
    expected = gradients(system, whole.total)
    parts: list[tuple[float, Losses]] = []
    for start, end in [(0, 3), (3, 6), (6, 8)]:
        part = system.losses(system(*padded(wavs[start:end])), select(texts, start, end))
        parts.append(((end - start) / 8, part))
    result = gradients(system, sum(share * part.total for share, part in parts))
    assert_same_gradients(result, expected)
    for name in ("total", "ce", "ctc"):
        mean = sum(share * getattr(part, name) for share, part in parts)
        torch.testing.assert_close(mean, getattr(whole, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "alpha is -0.1"),
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"emotion_weight": -1.0}, "emotion_weight is -1.0"),
        ({"focal_gamma": -1.0}, "focal_gamma is -1.0"),
        ({"heads": {"valance": 1.0}}, "heads: 'valance' is not known"),
        ({"heads": {"gender": 1.0}}, "gender has no classes"),
        ({"alpha": 0.0, "emotion_weight": 0.0, "heads": {"valence": 0}}, "all weights of heads are 0"),
    ],
)
def test_invalid_settings(folders, settings, message):
    with pytest.raises(UserError, match=message):
        MultiTaskSystem(load_encoder(folders["group"]), LABELS, TOKENS, **{"alpha": 0.1} | settings)


def test_smoothed_and_weighted_cross_entropy_by_hand():
    made = outputs([4, 4, 4])
    targets_of = targets((1,), (1,), (1,))._replace(weights=torch.tensor([2.0, 0.5, 0.0]))
    log_probs = made.emotion.log_softmax(-1)
    smoothed = 0.7 * log_probs.diagonal() + 0.3 * log_probs.mean(1)  # a share of 0.3 is spread over all classes
    torch.testing.assert_close(cross_entropy(made, targets_of._replace(weights=None), 0.3), -smoothed.mean())
    torch.testing.assert_close(cross_entropy(made, targets_of, 0.3), -(2 * smoothed[0] + 0.5 * smoothed[1]) / 3)


def test_focal_loss_by_hand():
    """Lin et al. 2017, equation 5."""
    made, weights = outputs([4, 4, 4]), torch.tensor([2.0, 0.5, 1.0])
    posteriors = made.emotion.softmax(-1).diagonal()
    targets_of = targets((1,), (1,), (1,))
    for given in (None, weights):
        expected = -((1 - posteriors) ** 1.5 * posteriors.log() * (1 if given is None else given)).mean()
        torch.testing.assert_close(cross_entropy(made, targets_of._replace(weights=given), focal_gamma=1.5), expected)
    # What is certain, and what has no emotion, has no loss and a gradient that is a number.
    sure = torch.tensor([[90.0, 0.0, 0.0], [0.0, 1.0, 2.0]], requires_grad=True)
    none = targets((1,), (1,), emotion=[0, -100])._replace(weights=torch.tensor([1.0, 0.0]))
    loss = cross_entropy(Outputs(sure), none, focal_gamma=0.5)
    loss.backward()
    assert loss.item() < 1e-6 and sure.grad.isfinite().all() and (sure.grad[1] == 0).all()


# Further heads

HEADS = {"gender": 0.3, "speaker": 0.2, "valence": 0.5, "arousal": 0.7, "votes": 0.4}
CLASSES = {"gender": ["F", "M"], "speaker": ["a", "b", "c"], "votes": ["ang", "neu", "sad"]}
NAN = float("nan")
LABELLED = TEXTS._replace(
    tasks={
        "gender": torch.tensor([0, 1, -100, 1, 0, 0, 1, -100]),
        "speaker": torch.tensor([0, 1, 2, 2, -100, 0, 1, 1]),
        "valence": torch.tensor([1.0, 2.0, NAN, 5.0, 4.0, 3.0, 3.0, 2.0]),
        "arousal": torch.tensor([NAN, NAN, 2.0, NAN, 1.0, NAN, NAN, NAN]),
        "votes": torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], *[[0.2, 0.3, 0.5]] * 5]),
    }
)


def many(folder: str, **settings) -> MultiTaskSystem:
    torch.manual_seed(7)
    given = {"alpha": 0.1, "heads": HEADS, "head_classes": CLASSES} | settings
    return MultiTaskSystem(load_encoder(folder), LABELS, TOKENS, **given).train()


def test_without_further_heads_it_is_the_paper_to_the_last_bit(folders):
    """Losses and gradients are those of equation 3, written out; other heads change no weight that is drawn."""
    batch = padded(waves(*UNEQUAL))
    system = build(folders["group"], alpha=0.1)
    found = gradients(system, system.losses(system(*batch), TEXTS).total)
    made = system(*batch)
    ce = F.cross_entropy(made.emotion, TEXTS.emotion)
    log_probs = made.tokens.log_softmax(-1).transpose(0, 1)
    ctc = F.ctc_loss(log_probs, TEXTS.tokens, made.n_frames, TEXTS.n_tokens, reduction="none").sum() / 8
    losses = system.losses(made, TEXTS)
    assert torch.equal(losses.total, ce + 0.1 * ctc) and torch.equal(losses.ce, ce) and losses.tasks is None
    direct = gradients(system, ce + 0.1 * ctc)
    assert found.keys() == direct.keys() and all(torch.equal(found[name], direct[name]) for name in direct)
    assert system.settings() == {"alpha": 0.1, "pooling": "mean"} and made.further == ()
    other = many(folders["group"]).state_dict()
    assert all(torch.equal(other[name], value) for name, value in system.state_dict().items())


def parts_of(system: MultiTaskSystem, wavs: list[Tensor], labels: Targets, ends: tuple[int, ...]) -> Tensor:
    """The loss of an update that is cut, as a training computes it."""
    cuts = list(zip((0, *ends), ends, strict=False))
    with torch.no_grad():
        each = [(system(*padded(wavs[start:end])), select(labels, start, end)) for start, end in cuts]
        moments = sum(system.moments(*pair) for pair in each)
    total = 0.0
    for start, end in cuts:
        own = select(labels, start, end)._replace(moments=moments)
        total = total + (end - start) / len(wavs) * system.losses(system(*padded(wavs[start:end])), own).total
    return total


@pytest.mark.parametrize("ends", [(3, 6, 8), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_all_heads_learn_the_same_however_the_update_is_cut(folders, ends):
    system, wavs = many(folders["group"]), waves(*UNEQUAL)
    labels = LABELLED._replace(emotion=LABELLED.emotion.clone(), weights=torch.ones(8))
    labels.emotion[5], labels.weights[5] = -100, 0.0  # one has no emotion
    whole = system.losses(system(*padded(wavs)), labels)
    expected = gradients(system, whole.total)
    assert all(expected[f"further_heads.{name}.weight"] is not None for name in CLASSES)
    assert system.depends_on_update
    total = parts_of(system, wavs, labels, ends)
    torch.testing.assert_close(total, whole.total, rtol=1e-5, atol=1e-5)
    assert_same_gradients(gradients(system, total), expected)
    assert whole.tasks[:, 1].tolist() == [2, 1, 1, 6, 1]
    assert labels.emotion[5] < 0 and whole.ce < cross_entropy(system(*padded(wavs)), LABELLED)


def test_a_label_that_is_missing_takes_its_term_alone(folders):
    """A sum of losses of each utterance, over all of them: by hand, with the number's whole statistic."""
    system, batch = many(folders["group"]), padded(waves(*UNEQUAL))
    made = system(*batch)
    gender, votes = (made.further[list(HEADS).index(name)].log_softmax(-1) for name in ("gender", "votes"))
    found = dict(zip(HEADS, system.losses(made, LABELLED).tasks[:, 0], strict=True))
    picked = [gender[row, index] for row, index in enumerate(LABELLED.tasks["gender"].tolist()) if index >= 0]
    torch.testing.assert_close(found["gender"], -sum(picked) / 8)
    shares = LABELLED.tasks["votes"]
    torch.testing.assert_close(found["votes"], (torch.xlogy(shares, shares) - shares * votes).sum() / 8)
    nothing = system.losses(made, TEXTS)  # a table without any of the columns
    assert nothing.tasks.tolist() == [[0.0, 8.0]] * 5
    torch.testing.assert_close(
        nothing.total, build(folders["group"], 0.1).losses(made._replace(further=()), TEXTS).total
    )


@pytest.mark.parametrize("idle", ["emotion_weight", "alpha", "gender", "valence", "votes"])
def test_a_weight_of_0_gives_no_gradient(folders, idle):
    settings = {idle: 0.0} if idle not in HEADS else {"heads": HEADS | {idle: 0}}
    system = many(folders["layer"], **settings)
    losses = system.losses(system(*padded(waves(*UNEQUAL))), LABELLED)
    found = gradients(system, losses.total)
    begins = {"emotion_weight": "emotion_head.", "alpha": "token_head."}.get(idle, f"further_heads.{idle}.")
    without = {name for name, gradient in found.items() if gradient is None}
    assert {name for name in found if name.startswith(begins)} == without - {"encoder.model.masked_spec_embed"}
    assert losses.ce > 0 and (losses.tasks[:, 0] > 0).all()  # for the log


def test_settings_build_the_same_heads(folders):
    system = many(folders["group"], emotion_weight=0.5)
    settings = system.settings()
    assert settings["heads"] == HEADS and settings["head_classes"] == CLASSES and settings["emotion_weight"] == 0.5
    again = MultiTaskSystem(load_encoder(folders["group"]), LABELS, TOKENS, **settings)
    again.load_state_dict(system.state_dict())
    system.leave_out({"speaker", "dominance"})
    assert (
        list(system.tasks) == ["gender", "valence", "arousal", "votes"] and "speaker" not in system.settings()["heads"]
    )
    assert len(system.eval()(*padded(waves(6400))).further) == 4


def test_dropout_is_before_both_heads_and_in_training_alone(folders):
    settings = {"n_labels": LABELS, "n_tokens": TOKENS, "alpha": 0.1}
    system, batch = MultiTaskSystem(load_encoder(folders["group"]), **settings, dropout=0.9), padded(waves(6400, 3200))
    heads = (system.emotion_head, system.token_head)
    zeros = []
    for head in heads:
        head.register_forward_pre_hook(lambda _, inputs: zeros.append((inputs[0] == 0).float().mean().item()))
    system.train()(*batch)
    system.eval()(*batch)
    assert zeros[0] > 0.7 and zeros[1] > 0.7 and zeros[2:] == [0, 0]


@pytest.mark.parametrize("family", ["w2v-bert", "whisper"])
def test_any_encoder_carries_the_heads(tmp_path, family):
    system = build(tiny_models.save(tmp_path, family), alpha=0.1)
    losses = system.losses(system(*padded(waves(16000, 9000))), targets((1, 2), (3,)))
    assert losses.ctc_left_out == 0
    result = gradients(system, losses.total)
    assert result["token_head.weight"].abs().sum() > 0 and result["emotion_head.weight"].abs().sum() > 0


# The device


@pytest.mark.parametrize("family", [*tiny_models.WAVEFORM, "whisper"])
def test_a_step_asks_nothing_of_the_device(tmp_path, family, monkeypatch):
    """Tensors on `meta` have no values: whatever would wait for one of a GPU's fails here."""

    def ctc_loss(log_probs, tokens, n_frames, n_tokens, **settings):
        # PyTorch has none without values. Its own for a GPU reads the lengths on the CPU.
        assert (tokens.device.type, n_frames.device.type, n_tokens.device.type) == ("meta", "cpu", "cpu")
        return log_probs.sum((0, 2))

    monkeypatch.setattr(F, "ctc_loss", ctc_loss)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # nor has it precisions there
    settings = {} if family == "whisper" else {"layerdrop": 0.0}
    folder = tiny_models.save(tmp_path, family, apply_spec_augment=True, mask_time_prob=0.5, **settings)
    system = build(folder, alpha=0.1).to("meta")
    wavs, lengths = padded(waves(16000, 9000))
    batch = Batch(["a", "b"], wavs, lengths, targets((1, 2), (3, 3, 3)), ["", ""]).to("meta")
    outputs = system(batch.wavs, batch.lengths)
    losses = system.losses(outputs, batch.targets)
    losses.total.backward()
    Tally("meta").add(losses, outputs, batch, counts=torch.isfinite(losses.total.detach()))
    assert all(parameter.grad.device.type == "meta" for parameter in system.token_head.parameters())
