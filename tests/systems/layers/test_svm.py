"""local.systems.layers.svm against scikit-learn's SVC."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from local.core.errors import UserError
from local.systems.layers.svm import SupportVectorMachine


def vectors(count: int, classes: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[count, 6] of classes that overlap, some rarer than others."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(classes, size=count, p=np.arange(1, len(classes) + 1) / sum(range(len(classes) + 1)))
    centres = np.random.default_rng(0).standard_normal((9, 6))
    return torch.from_numpy(centres[labels] + chance.standard_normal((count, 6))).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_scores_and_classes_are_those_of_scikit_learn(kernel, C):
    training, labels = vectors(90, [0, 1, 2, 3], 1)
    tested, _ = vectors(200, [0, 1, 2, 3], 2)
    theirs = SVC(kernel=kernel, C=C, class_weight="balanced", break_ties=True)
    theirs.fit(training.double().numpy(), labels.numpy())
    scores = SupportVectorMachine(6, 4, kernel).fit(training, labels, C)(tested)
    np.testing.assert_allclose(scores.detach(), theirs.decision_function(tested.double().numpy()), atol=1e-4)
    assert scores.argmax(1).tolist() == theirs.predict(tested.double().numpy()).tolist()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("present", [[1, 3], [0, 2, 3]])
def test_classes_that_the_training_set_lacks_never_win(kernel, present):
    training, labels = vectors(60, present, 1)
    tested, _ = vectors(100, [0, 1, 2, 3], 2)
    theirs = SVC(kernel=kernel, class_weight="balanced", break_ties=len(present) > 2)
    theirs.fit(training.double().numpy(), labels.numpy())
    machine = SupportVectorMachine(6, 4, kernel).fit(*vectors(60, [0, 1, 2, 3], 3), 1.0)  # what was before is gone
    scores = machine.fit(training, labels, 1.0)(tested)
    assert scores.argmax(1).tolist() == theirs.predict(tested.double().numpy()).tolist()


def test_all_that_it_computes_with_is_in_its_state():
    tested, _ = vectors(50, [0, 1, 2], 2)
    for kernel in ("linear", "rbf"):
        machine = SupportVectorMachine(6, 3, kernel).fit(*vectors(60, [0, 1, 2], 1), 1.0)
        again = SupportVectorMachine(6, 3, kernel)
        again.load_state_dict(machine.state_dict())
        assert torch.equal(again(tested), machine(tested))


def test_what_cannot_be_fitted_is_refused(monkeypatch):
    with pytest.raises(UserError, match="kernel is 'poly'"):
        SupportVectorMachine(6, 4, "poly")
    with pytest.raises(UserError, match="one emotion"):
        SupportVectorMachine(6, 4).fit(torch.randn(5, 6), torch.ones(5, dtype=torch.long), 1.0)
    monkeypatch.setattr("local.systems.layers.svm.MOST", 4)
    with pytest.raises(UserError, match="room for 4"):
        SupportVectorMachine(6, 3, "rbf").fit(*vectors(60, [0, 1, 2], 1), 1.0)
