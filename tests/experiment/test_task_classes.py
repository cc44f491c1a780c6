"""Classes of further heads: of the training set of a fold alone, and refused where there is nothing to learn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from paths import REPOSITORY

from local.config import hparams
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.task_classes import of_training


@pytest.fixture
def fold(tmp_path: Path) -> Path:
    rows = [
        {"gender": "M", "spk_id": "2", "valence": "1.5", "arousal": "3", "votes": "neu 2 ang 1"},
        {"gender": "F", "spk_id": "10", "valence": "", "arousal": "3.0", "votes": "sad 3"},
        {"gender": "", "spk_id": "10", "valence": "4", "arousal": "3", "votes": ""},
    ]
    names = dict.fromkeys([*manifest.COLUMNS, "votes", "valence", "arousal", "dominance"], "")
    table = pd.DataFrame([names | {"ID": f"u{i}", "duration": 1.0, "emo": "ang"} | row for i, row in enumerate(rows)])
    manifest.write(tmp_path / "train.csv", table)
    return tmp_path


def test_classes_are_those_of_the_training_set(fold):
    heads = {"votes": 1, "speaker": 0.0, "gender": 0.1, "valence": 1}
    found = of_training({"heads": heads}, fold)["head_classes"]
    assert found == {"gender": ["F", "M"], "speaker": ["10", "2"], "votes": ["ang", "neu", "sad"]}
    assert of_training({"heads": {}}, fold) == of_training({}, fold / "missing") == {}


def test_names_come_back_from_a_yaml_as_they_are():
    speakers = ["007", "1", "1e5", "NA", "null", "yes", "2F", "~", "Ann-Mary", "é"]
    classes = {"gender": ["F", "M"], "speaker": speakers}
    text = hparams.resolve(REPOSITORY / "hparams" / "mini.yaml", {"head_classes": classes, "heads": {"speaker": 0.1}})
    assert hparams.plain_values(text)["head_classes"] == classes
    assert hparams.trained_values(text)["heads"] == {"speaker": 0.1}


@pytest.mark.parametrize(
    ("name", "what"),
    [("dominance", "no utterance has a label"), ("arousal", "all that have a label have the same, 3")],
)
def test_nothing_to_learn_is_refused(fold, name, what):
    with pytest.raises(UserError, match=what) as caught:
        of_training({"heads": {name: 1.0}}, fold)
    assert f"leave {name} out" in caught.value.remedy


def test_a_cell_that_is_no_label_is_named(fold):
    text = (fold / "train.csv").read_text().replace("sad 3", "sad")
    (fold / "train.csv").write_text(text)
    with pytest.raises(UserError, match="column votes"):
        of_training({"heads": {"votes": 1.0}}, fold)
