"""eGeMAPS + SVM against scikit-learn, on functionals that are made here in the place of opensmile's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from system_checks import StandIn, assert_alone_as_in_a_batch, inputs, sounds, trained_parameters

from local.config import hparams
from local.encoders.base import pad_batch
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.egemaps_svm import EgemapsSvm
from local.systems.layers.svm import SupportVectorMachine

YAML = hparams.RUNNING.parent / "table3" / "egemaps_svm.yaml"
DECADES = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


@pytest.fixture(autouse=True)
def without_opensmile(monkeypatch):
    monkeypatch.setattr("local.systems.egemaps_svm.Functionals", StandIn)


def labelled(count: int, size: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of so many sounds as stored rows, with the emotions of some exchanged."""
    chance = np.random.default_rng(seed)
    rows = [StandIn().rows(wav) for wav in sounds(*[0.2] * count, seed=seed)]
    rows = [row + torch.from_numpy(chance.normal(scale=0.6, size=row.shape)).float() for row in rows]
    emotions = torch.arange(count) % 4
    emotions[: count // 8] = 2
    parts = [slice(at, at + size) for at in range(0, count, size)]
    return [(pad_batch(rows[part]), torch.ones(len(rows[part]), dtype=torch.long), emotions[part]) for part in parts]


@torch.no_grad()
def solved(kernel: str = "linear", validation: bool = True) -> EgemapsSvm:
    system, training = EgemapsSvm(4, kernel).eval(), labelled(48, 10, 1)
    system.measure((rows, lengths) for rows, lengths, _ in training)
    system.solve(training, labelled(40, 7, 2) if validation else None)
    return system


def by_scikit_learn(kernel: str, C: float):
    """Their scaler and machine."""
    ((rows, _, emotions),) = labelled(48, 48, 1)
    scaler = StandardScaler().fit(rows[:, 0].double().numpy())
    machine = SVC(kernel=kernel, C=C, class_weight="balanced", break_ties=True)
    return scaler, machine.fit(scaler.transform(rows[:, 0].double().numpy()), emotions.numpy())


@torch.no_grad()
def test_c_is_the_best_on_the_validation_set_and_scores_are_those_of_scikit_learn(monkeypatch):
    tried, fit = [], SupportVectorMachine.fit
    monkeypatch.setattr(SupportVectorMachine, "fit", lambda *given: tried.append(given[-1]) or fit(*given))
    ((rows, lengths, emotions),) = labelled(40, 40, 2)
    found = {}
    for C in DECADES:
        scaler, machine = by_scikit_learn("linear", C)
        predicted = machine.predict(scaler.transform(rows[:, 0].double().numpy()))
        found[C] = balanced_accuracy_score(emotions, predicted)
    assert len(set(found.values())) > 2
    best = max(found, key=found.get)
    scaler, machine = by_scikit_learn("linear", best)
    expected = machine.decision_function(scaler.transform(rows[:, 0].double().numpy()))
    np.testing.assert_allclose(solved()(rows, lengths).emotion, expected, atol=1e-3)
    assert tried == [*DECADES, best]


@pytest.mark.parametrize(("kernel", "C"), [("linear", 0.01), ("rbf", 1.0)])
@torch.no_grad()
def test_c_without_a_validation_set_and_that_of_rbf(kernel, C):
    ((rows, lengths, _),) = labelled(40, 40, 2)
    scaler, machine = by_scikit_learn(kernel, C)
    expected = machine.decision_function(scaler.transform(rows[:, 0].double().numpy()))
    np.testing.assert_allclose(solved(kernel, kernel == "rbf")(rows, lengths).emotion, expected, atol=1e-3)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@torch.no_grad()
def test_eight_utterances_are_learned(kernel):
    system, wavs, emotions = EgemapsSvm(4, kernel).eval(), sounds(*[0.5] * 8), torch.arange(8) % 4
    rows, lengths = inputs(system, wavs)
    system.measure([(rows, lengths)])
    system.solve([(rows, lengths, emotions)], [(rows, lengths, emotions)])
    assert torch.equal(system(rows, lengths).emotion.argmax(1), emotions)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_in_use(kernel, tmp_path):
    system = solved(kernel)
    model_folder.write(tmp_path, Model(system, list("abcd"), [], [0], 2.0, {}))
    again, wavs = model_folder.read(tmp_path).system, pad_batch(sounds(0.5, 0.3))
    lengths = torch.tensor([8000, 4800])
    torch.testing.assert_close(again(wavs, lengths).emotion, system(wavs, lengths).emotion)
    assert_alone_as_in_a_batch(system, sounds(1.0, 0.5, 0.1, 0.01))
    assert trained_parameters(EgemapsSvm(4)) == 6 * 88 + 6


def test_the_yaml_asks_for_no_epoch():
    values = hparams.build(hparams.resolve(YAML, {"kernel": "rbf"}))
    assert values["epochs"] == 0 and values["system"].settings() == {"kernel": "rbf"} and values["system"].solves
