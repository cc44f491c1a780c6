"""Log-mel statistics and logistic regression against scikit-learn's."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from system_checks import assert_alone_as_in_a_batch, inputs, sounds, trained_parameters

from local.config import hparams
from local.encoders.base import pad_batch
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.logmel_logistic import LogmelLogistic
from local.systems.statistics import LEAST_DEVIATION

YAML = hparams.RUNNING.parent / "table3" / "logmel_logistic.yaml"


def labelled(count: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of `size` of so many sounds, of 0.3 s and more; one emotion is told wrongly."""
    wavs = sounds(*(0.3 + 0.01 * number for number in range(count)))
    emotions = torch.arange(count) % 4
    emotions[1] = 3
    return [
        (
            pad_batch(wavs[at : at + size]),
            torch.tensor([len(wav) for wav in wavs[at : at + size]]),
            emotions[at:][:size],
        )
        for at in range(0, count, size)
    ]


@torch.no_grad()
def solved(C: float = 1.0) -> LogmelLogistic:
    system = LogmelLogistic(4, C).eval()
    training = labelled(16, 5)
    system.measure((wavs, lengths) for wavs, lengths, _ in training)
    system.solve(training, None)
    return system


@torch.no_grad()
def test_posteriors_are_those_of_scikit_learn():
    system, training = solved(), labelled(16, 16)[0]
    statistics = system.front_end(*training[:2])[0][:, 0].double().numpy()
    scaled = StandardScaler().fit(statistics)
    scaled.scale_ = scaled.scale_.clip(LEAST_DEVIATION)
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(scaled.transform(statistics), training[2].numpy())
    other = pad_batch(sounds(0.5, 0.9, 0.2, seed=3)), torch.tensor([8000, 14_400, 3200])
    found = system(*other).emotion.softmax(1)
    expected = theirs.predict_proba(scaled.transform(system.front_end(*other)[0][:, 0].double().numpy()))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (system(*training[:2]).emotion.argmax(1) == training[2]).sum() >= 15


def test_it_has_a_weight_per_statistic_and_class_and_does_not_depend_on_the_batch():
    system = LogmelLogistic(4)
    assert trained_parameters(system) == 2 * 80 * 4 + 4 and system.solves
    assert_alone_as_in_a_batch(system, sounds(3.0, 1.0, 0.1, 0.01))


@torch.no_grad()
def test_eight_utterances_are_learned():
    system, emotions = LogmelLogistic(4).eval(), torch.arange(8) % 4
    batch = inputs(system, sounds(*(0.5 + 0.03 * number for number in range(8))))
    system.measure([batch])
    system.solve([(*batch, emotions)], None)
    assert torch.equal(system(*batch).emotion.argmax(1), emotions)


def test_the_same_data_give_the_same_weights():
    first, second = solved().state_dict(), solved().state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert solved(C=0.01).emotion_head.weight.abs().max() < first["emotion_head.weight"].abs().max()


def test_its_yaml_and_its_model_folder(tmp_path):
    values = hparams.build(hparams.resolve(YAML, {"C": 0.5}))
    assert values["epochs"] == 0 and values["system"].settings() == {"C": 0.5}
    system = solved(C=0.5)
    model_folder.write(tmp_path, Model(system, list("abcd"), [], [0], 2.0, {}))
    again, batch = model_folder.read(tmp_path).system, labelled(4, 4)[0][:2]
    torch.testing.assert_close(again(*batch).emotion, system(*batch).emotion)
