"""Class weights: balanced as scikit-learn has it, given, or none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from local.core.errors import UserError
from local.data.class_weights import class_weights

LABELS = ["ang", "hap", "neu"]
EMOTIONS = [0, 1, 1, 2, 2, 2, 2]


def test_balanced_is_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(EMOTIONS))
    weights = class_weights("balanced", LABELS, EMOTIONS)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[torch.tensor(EMOTIONS)].mean() == pytest.approx(1)
    of_four = class_weights("balanced", [*LABELS, "sad"], EMOTIONS)  # of the last there is none
    assert len(of_four) == 4 and torch.equal(of_four[:3], weights) and of_four.isfinite().all()
    assert class_weights("balanced", LABELS, []).isfinite().all()  # as the check before any job asks for


def test_given_and_none():
    assert class_weights(None, LABELS, EMOTIONS) is None
    assert class_weights({"neu": 2, "ang": 0.5}, LABELS, EMOTIONS).tolist() == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("ballanced", "class_weights is 'ballanced'"),
        (2.0, "class_weights is"),
        ({"sad": 1.0}, "'sad' is no label"),
        ({"ang": -1}, "weight of ang is -1"),
        ({"ang": "high"}, "weight of ang is high"),
        ({"ang": True}, "weight of ang is True"),
        ({"ang": float("nan")}, "weight of ang is nan"),
    ],
)
def test_other_values_are_refused(how, message):
    with pytest.raises(UserError, match=message):
        class_weights(how, LABELS, EMOTIONS)
