"""A training that continues from a model: labels and tokens compared by hand, and whom the model has heard."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from local.core.errors import UserError
from local.corpora.manifest import COLUMNS
from local.experiment import continued
from local.experiment.continued import Origin

PIECES = ["<pad>", "<unk>", "\u2581", "A", "B", "C"]


def origin(**changes: object) -> Origin:
    values = {"source": "/x/MODEL", "system": "mtl", "settings": {"alpha": 0.1}, "labels": ["ang", "neu", "sad"]}
    return Origin(**values | {"tokens": PIECES, "provenance": {}} | changes)


@pytest.mark.parametrize(
    ("labels", "order", "said"),
    [
        ("ang neu sad", [0, 1, 2], "taken"),
        ("sad ang neu", [2, 0, 1], "taken, its labels in another order"),
        ("ang neu", None, "starts from random weights: MODEL has ang neu sad, here are ang neu"),
        ("ang hap sad", None, "starts from random weights: MODEL has ang neu sad, here are ang hap sad"),
    ],
)
def test_emotions_agree_where_they_are_the_same(labels, order, said):
    assert continued.emotions(origin(), labels.split()) == (order, said)


@pytest.mark.parametrize(
    ("tokens", "order", "said"),
    [
        (PIECES, [0, 1, 2, 3, 4, 5], "taken"),
        (["<pad>", "<unk>", "B", "\u2581", "A", "C"], [0, 1, 4, 2, 3, 5], "taken, its tokens in another order"),
        (PIECES[:5], [0, 1, 2, 3, 4], "taken, 1 of its 6 tokens, which do not occur here, left out"),
        ([*PIECES, "Ł", "Z"], None, "starts from random weights: MODEL lacks the tokens Ł Z"),
        (
            [*PIECES, *"0123456789"],
            None,
            "starts from random weights: MODEL lacks the tokens 0 1 2 3 4 5 6 7 and 2 more",
        ),
        (["<pad>"], None, "starts from random weights: the training set has no transcripts"),
    ],
)
def test_tokens_agree_where_the_model_has_all(tokens, order, said):
    assert continued.tokens(origin(), tokens) == (order, said)


def test_a_head_that_learnt_nothing_is_not_taken():
    order, said = continued.tokens(origin(settings={"alpha": 0}), PIECES)
    assert order is None and "alpha was 0 when MODEL was trained" in said


def test_a_model_of_another_system_is_refused_by_name():
    continued.refuse_other_system(origin(), "mtl", "own.yaml")
    with pytest.raises(UserError) as refusal:
        continued.refuse_other_system(origin(), "fine_tuning", "own.yaml")
    assert refusal.value.what == "encoder /x/MODEL is a model of the system mtl, and own.yaml builds fine_tuning"


def test_what_is_no_model_folder_has_no_origin(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    assert [continued.origin(source) for source in (str(tmp_path), None, {"model_type": "hubert"}, "a/b")] == [None] * 4
    (tmp_path / "config.json").write_text(json.dumps({"format": "ser-mtl 1"}))
    with pytest.raises(UserError, match='"encoder" is missing'):
        continued.origin(str(tmp_path))


# ---------------------------------------------------------------- whom it has heard


@pytest.fixture
def fold(tmp_path) -> Path:
    """Fold 1A, which tests A and B."""
    (tmp_path / "1A").mkdir()
    rows = pd.DataFrame({"ID": ["u1", "u2"], "spk_id": ["A", "B"], "duration": [1.0, 1.0]})
    rows.reindex(columns=list(COLUMNS), fill_value="").to_csv(tmp_path / "1A" / "test.csv", index=False)
    return tmp_path / "1A"


def test_speakers_that_are_tested_are_named_as_optimistic(fold):
    provenance = {"corpus": "own", "protocol": "session", "folds": ["s1"], "speakers": ["B", "C"]}
    said = continued.heard(origin(provenance=provenance), "own", "speaker", fold)
    assert said == "OPTIMISTIC: MODEL was trained on own, where fold 1A tests the same speakers: B"


@pytest.mark.parametrize(
    "provenance",
    [
        {"corpus": "own", "protocol": "speaker", "folds": ["1B"], "speakers": ["C", "D"]},
        {"corpus": "nemo", "protocol": "speaker", "folds": ["1B"], "speakers": ["A", "B"]},  # others of the same names
        {"corpus": "own", "protocol": "speaker", "folds": ["1A"], "speakers": ["A", "C"]},  # the same training set
        {},
    ],
)
def test_a_model_that_has_not_heard_them_is_no_reason_to_warn(fold, provenance):
    assert not continued.heard(origin(provenance=provenance), "own", "speaker", fold)


@pytest.mark.parametrize("speakers", [None, 700, []])
def test_what_the_folder_does_not_say_cannot_be_known(fold, speakers):
    provenance = {"corpus": "own", "protocol": "speaker", "folds": ["1B", "1A"], "speakers": speakers}
    said = continued.heard(origin(provenance=provenance), "own", "speaker", fold)
    assert said.startswith("OPTIMISTIC: MODEL was trained on own, by whom is not known, so perhaps by speakers that fo")


def test_the_corpora_of_iemocap_have_the_same_speakers(fold):
    provenance = {"corpus": "iemocap-improvised", "protocol": "speaker", "folds": ["1B"], "speakers": ["A"]}
    assert "iemocap-improvised" in continued.heard(origin(provenance=provenance), "iemocap", "speaker", fold)


@pytest.mark.parametrize(
    ("corpus", "speaker"), [("own@4class", "A"), ("nemo+own", "own_A"), ("own+nemo@valence", "own_A")]
)
def test_labels_of_a_map_and_several_corpora_have_the_same_speakers_too(fold, corpus, speaker):
    provenance = {"corpus": corpus, "protocol": "speaker", "folds": ["1A"], "speakers": [speaker, "nemo_B"]}
    said = continued.heard(origin(provenance=provenance), "own", "speaker", fold)
    assert said == f"OPTIMISTIC: MODEL was trained on {corpus}, where fold 1A tests the same speakers: A"


def test_the_models_before_it_count_too(fold):
    first = {"corpus": "own", "protocol": "speaker", "folds": ["1B"], "speakers": ["A"]}
    last = {"corpus": "nemo", "protocol": "speaker", "folds": ["AO0"], "speakers": ["JS0"], "before": [first, "x"]}
    found = origin(provenance=last)
    assert [each["corpus"] for each in found.trainings] == ["nemo", "own"] and "before" not in found.trainings[0]
    assert "where fold 1A tests the same speakers: A" in continued.heard(found, "own", "speaker", fold)
    assert origin(provenance={"before": 3}).trainings == [{}]
