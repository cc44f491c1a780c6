"""Labels of further heads as tensors, and back into the cells of predictions."""

from __future__ import annotations

import pandas as pd
import torch

from local.data import task_targets

HEADS = {"gender": ["F", "M"], "speaker": ["a", "b"], "valence": [], "votes": ["ang", "neu"]}
TABLE = pd.DataFrame(
    {
        "gender": ["F", "", "M"],
        "spk_id": ["b", "c", "a"],  # c does not train
        "valence": ["2.5", "4", ""],
        "votes": ["neu 3 ang 1", "", "oth 2"],  # nobody chose oth in the training set
    }
)


def test_labels():
    found = task_targets.targets(TABLE, HEADS)
    assert list(found) == list(HEADS)
    assert found["gender"].tolist() == [0, -100, 1] and found["speaker"].tolist() == [1, -100, 0]
    assert found["valence"][:2].tolist() == [2.5, 4.0] and found["valence"][2].isnan()
    assert found["votes"].tolist() == [[0.25, 0.75], [0.0, 0.0], [0.0, 0.0]]
    assert task_targets.count_line([0, -100, 2], found) == "emotion 1, gender 1, speaker 1, valence 1, votes 2 of 3"
    assert task_targets.count_line([0, -100, 2], {}, ["A", "", ""]) == "emotion 1, transcript 2 of 3"


def test_a_table_without_a_column_has_no_labels():
    found = task_targets.targets(TABLE.drop(columns=["valence", "votes"]), HEADS)
    assert found["valence"].isnan().all() and (found["votes"] == 0).all()


def test_cells():
    labels = task_targets.targets(TABLE, HEADS)
    outputs = (
        torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
        torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
        torch.tensor([1.5, 2.0, 3.0]),
        torch.tensor([[0.75, 0.25]] * 3).log(),
    )
    first, second, third = task_targets.cells(outputs, labels, HEADS)
    shares = "ang 0.750000 neu 0.250000"
    assert first == ["F", "F", "b", "a", 2.5, 1.5, "ang 0.250000 neu 0.750000", shares]
    assert second == ["", "M", "", "b", 4.0, 2.0, "", shares]
    assert third[:4] == ["M", "M", "a", "b"] and third[4] != third[4] and third[5:] == [3.0, "", shares]
