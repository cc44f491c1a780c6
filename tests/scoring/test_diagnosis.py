"""What is odd about a run: each sign planted, and a sound run that has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from random_predictions import LABELS, predicted

from local.scoring.diagnosis import warnings


def table(accuracy: float = 0.7) -> pd.DataFrame:
    return predicted(4, 50, 1, accuracy).assign(fold="01F")


def log(**last: float) -> pd.DataFrame:
    """Three epochs of sound learning; the last one's figures can be set."""
    columns = {"epoch": [1, 2, 3], "train_loss": [9.0, 5.0, 2.0], "train_wa": [0.4, 0.7, 0.9]}
    epochs = pd.DataFrame(columns | {"valid_ua": [0.3, 0.5, 0.65], "skipped_updates": [0.0, 0.0, 0.0]})
    for name, value in last.items():
        epochs.loc[2, name] = value
    return epochs.assign(seed=1, fold="01F")


def test_a_sound_run_has_no_sign():
    assert warnings(table(), log(), {"alpha": 0.1}) == []


@pytest.mark.parametrize(
    ("predictions", "epochs", "expected"),
    [
        (table(0.25), log(), "the accuracy is at chance"),
        (table().assign(emo_hyp="neu"), log(), "every utterance is taken for `neu`"),
        (table().replace({"emo_hyp": {"hap": "ang"}}), log(), "`hap` is never predicted"),
        (table().assign(wrd_hyp=""), log(), "the WER is stuck near 1, the output nearly all blank"),
        (table().assign(wrd_hyp="NOTHING LIKE IT"), log(), "the WER is stuck near 1, the output mostly wrong"),
        (table(), log(train_loss=8.95), "the training loss is flat"),
        (table(), log(train_loss=15.0), "the training loss ended above where it began"),
        (table(), log(skipped_updates=7), "7 updates were skipped"),
        (
            table(),
            log(train_wa=1.0).assign(valid_ua=0.27),
            "the training set is memorised and accuracy on validation is at chance",
        ),
        (
            table(0.3),
            log(train_wa=1.0).assign(valid_ua=np.nan),
            "is memorised and accuracy on the test set is at chance",
        ),
    ],
)
def test_each_sign(predictions, epochs, expected):
    signs = warnings(predictions, epochs, {"alpha": 0.1})
    assert any(expected in sign for sign in signs), signs
    assert all("Usual causes: " in sign and sign.startswith("seed 1 fold 01F: ") for sign in signs)


def test_alpha_0_may_have_any_wer():
    assert warnings(table().assign(wrd_hyp=""), log(), {"alpha": 0}) == []


def test_without_transcripts_the_wer_is_not_missed():
    assert warnings(table().assign(wrd="", wrd_hyp=""), log(), {"alpha": 0.1}) == []


def test_a_few_wrong_of_a_few_are_not_chance():
    few = table(0.7)[:12]
    few = few.assign(emo_hyp=[few["emo"].iloc[i] if i < 6 else LABELS[i % 4] for i in range(12)])
    assert not any("chance" in sign for sign in warnings(few, log(), {"alpha": 0.1}))


def test_the_runs_with_a_sign_are_named():
    both = pd.concat([table(), table(0.25).assign(fold="02M")])
    logs = pd.concat([log(), log().assign(fold="02M")])
    assert [sign.partition(":")[0] for sign in warnings(both, logs, {"alpha": 0.1})] == ["seed 1 fold 02M"]
    every = warnings(both.assign(emo_hyp="sad"), logs, {"alpha": 0.1})
    assert len(every) == 1 and every[0].startswith("in every run: every utterance")
