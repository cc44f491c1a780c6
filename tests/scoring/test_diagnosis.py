"""What is odd about a run: each sign planted, and a sound run that has none."""

from __future__ import annotations

import re

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
    epochs = pd.DataFrame(columns | {"valid_ua": [0.3, 0.5, 0.65], "skipped_updates": [0.0, 0.0, 0.0]}).assign(
        ctc_left_out=0
    )
    for name, value in last.items():
        epochs.loc[2, name] = value
    return epochs.assign(seed=1, fold="01F")


def test_a_sound_run_has_no_sign():
    assert warnings(table(), log(), {"alpha": 0.1}) == []
    assert warnings(table(), log(train_wa=1.0), {"alpha": 0.1}) == []  # it has learned what is true elsewhere, too
    assert warnings(table(), log().assign(ctc_left_out=3), {"alpha": 0.1}) == []  # of texts that are not known
    assert warnings(table().assign(emo="ang", emo_hyp="ang"), log(), {"alpha": 0.1}) == []  # one emotion to tell


@pytest.mark.parametrize(
    ("predictions", "epochs", "expected"),
    [
        (table(0.25), log(), "the accuracy is at chance"),
        (table().assign(emo_hyp="neu"), log(), "every utterance is taken for `neu`"),
        (table().replace({"emo_hyp": {"hap": "ang"}}), log(), "never predicted: `hap`"),
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


def test_an_encoder_is_blamed_only_where_there_is_one():
    """A YAML without one has no such key, or leaves it empty."""
    flat, same = log(train_loss=8.95), table().assign(emo_hyp="neu")
    for values, blamed in (({"encoder": {"model_type": "wav2vec2"}}, 2), ({"asr_encoder": None}, 0), ({}, 0)):
        assert sum("an encoder that is" in sign for sign in warnings(same, flat, values)) == blamed


def test_of_what_is_solved_no_epochs_are_blamed():
    solved = log()[2:].assign(epoch=1, train_loss=np.nan, solved=1)
    for predictions in (table(0.25), table().assign(emo_hyp="neu")):
        (sign,) = warnings(predictions, solved, {})
        assert "labels that do not match the audio" in sign and not re.search("learning rate|epochs", sign)
    beside = log().assign(solved=np.nan)  # a run without a last step, in one table with a run that has it
    assert "too few epochs" in warnings(table(0.25), beside, {})[0]


def test_alpha_0_may_have_any_wer():
    assert warnings(table().assign(wrd_hyp=""), log(), {"alpha": 0}) == []


def test_without_transcripts_the_wer_is_not_missed():
    assert warnings(table().assign(wrd="", wrd_hyp=""), log(), {"alpha": 0.1}) == []


def test_a_few_wrong_of_a_few_are_not_chance():
    few = table(0.7)[:12]
    few = few.assign(emo_hyp=[few["emo"].iloc[i] if i < 6 else LABELS[i % 4] for i in range(12)])
    assert not any("chance" in sign for sign in warnings(few, log(), {"alpha": 0.1}))
    four_of_eight = table()[:8].assign(emo=LABELS * 2, emo_hyp=LABELS + LABELS[1:] + LABELS[:1])
    assert not any("chance" in sign for sign in warnings(four_of_eight, log(), {"alpha": 0.1}))


def test_the_runs_with_a_sign_are_named():
    both = pd.concat([table(), table(0.25).assign(fold="02M")])
    logs = pd.concat([log(), log().assign(fold="02M")])
    assert [sign.partition(":")[0] for sign in warnings(both, logs, {"alpha": 0.1})] == ["seed 1 fold 02M"]
    every = warnings(both.assign(emo_hyp="sad"), logs, {"alpha": 0.1})
    assert len(every) == 1 and every[0].startswith("in every run: every utterance")


TEXTS = {"01F": pd.Series(["A LONG TEXT"] * 12 + [""] * 3)}


def test_transcripts_that_do_not_fit_their_audio_are_counted_instead_of_blaming_epochs():
    """Of 15 utterances, 3 have no transcript, which epochs.csv counts as left out, too."""
    nothing = table().assign(wrd_hyp="")
    (sign,) = warnings(nothing, log().assign(ctc_left_out=15), {"alpha": 0.1}, TEXTS.__getitem__)
    assert "12 of 12 training transcripts need more frames than their audio has and were left out of CTC" in sign
    few = warnings(nothing, log().assign(ctc_left_out=4), {"alpha": 0.1}, TEXTS.__getitem__)
    assert len(few) == 2 and "1 of 12 training transcripts" in few[0] and "too few epochs" in few[1]
    assert "too few epochs" in warnings(nothing, log().assign(ctc_left_out=3), {"alpha": 0.1}, TEXTS.__getitem__)[0]
    assert warnings(nothing, log().assign(ctc_left_out=15), {"alpha": 0}, TEXTS.__getitem__) == []
    assert warnings(table(), log().assign(ctc_left_out=np.nan), {"alpha": 0.1}, TEXTS.__getitem__) == []


def test_in_a_script_without_blanks_the_wer_is_not_stuck():
    chinese = table().assign(wrd="今天的天气真的很好", wrd_hyp="今天的天汽真的很好")
    (sign,) = warnings(chinese, log(), {"alpha": 0.1})
    assert "words cannot be separated in transcripts without blanks" in sign and "stuck" not in sign
    (sign,) = warnings(chinese.assign(wrd_hyp=""), log(), {"alpha": 0.1})
    assert "the WER is stuck near 1, the output nearly all blank" in sign
    assert warnings(table().assign(wrd="ONE TWO", wrd_hyp="OWE TWOO"), log(), {"alpha": 0.1}) == []


def test_like_signs_are_one_warning():
    """The same labels together, other labels and counts by run, and the causes once."""
    tables = {
        fold: table().replace({"emo_hyp": dict.fromkeys(gone, "ang")}).assign(fold=fold)
        for fold, gone in {"a": ["hap", "sad"], "b": ["sad"], "c": ["sad"], "d": []}.items()
    }
    skipped = {"a": 0, "b": 3, "c": 5, "d": 3}
    logs = pd.concat([log(skipped_updates=skipped[fold]).assign(fold=fold) for fold in tables])
    never, updates = warnings(pd.concat(tables.values()), logs, {"alpha": 0.1})
    assert never.startswith(
        "seed 1 fold a: never predicted: `hap`, `sad`; seed 1 fold b, seed 1 fold c: `sad`. Usual causes: few examples"
    )
    assert updates == (
        "seed 1 fold b, seed 1 fold d: 3 updates were skipped: loss or gradient was not finite; seed 1 fold c: 5. "
        "Usual causes: `lr` too high, fp16"
    )
