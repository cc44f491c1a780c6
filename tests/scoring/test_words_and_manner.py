"""Effects of words and manner on posteriors: by hand, and of models that are known to read or to listen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from local.core.errors import UserError
from local.scoring import stats
from local.scoring.words_and_manner import EFFECTS, compare, effect, effects, of_spoken

LABELS = ["ang", "neu", "sad"]
P = [f"p_{label}" for label in LABELS]
TEXTS = 8  # of each emotion


def crossed(answer, labels=LABELS, manners=LABELS) -> pd.DataFrame:
    """Rows of every text in every manner; `answer(emotion of the text, manner)` gives the posteriors."""
    rows = [
        {"words": f"{text} {number}", "text_emo": text, "manner": manner}
        | {f"p_{label}": value for label, value in zip(labels, answer(text, manner), strict=True)}
        for text in labels
        for number in range(TEXTS)
        for manner in manners
    ]
    return pd.DataFrame(rows)


def sure(label: str, labels=LABELS) -> list[float]:
    return [float(label == each) for each in labels]


def real() -> pd.DataFrame:
    """Ten utterances of each emotion, of six speakers: the model is right and sure of all but one."""
    rows = [
        {"ID": f"{label}{number}", "emo": label, "spk_id": "ABCDEF"[number % 6], "recording": ""}
        | dict(
            zip([f"p_{each}" for each in LABELS], sure("neu" if (label, number) == ("sad", 3) else label), strict=True)
        )
        for label in LABELS
        for number in range(10)
    ]
    return pd.DataFrame(rows)


def values(table: pd.DataFrame, name: str) -> dict[str, float]:
    of_name = table[table["name"] == name]
    return dict(zip(of_name["effect"], of_name["value"], strict=True))


def test_the_effect_by_hand():
    # Of two utterances of each label: p of the first label 0.8 and 0.3, of the second 0.7 and 0.2.
    sums, counts = np.array([[1.6, 0.4], [0.6, 1.4]]), np.array([2.0, 2.0])
    assert effect(sums, counts) == pytest.approx(((0.8 - 0.3) + (0.7 - 0.2)) / 2)
    assert effect(np.zeros((2, 2)) + 0.5, np.array([1.0, 1.0])) == 0
    assert np.isnan(effect(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0])))  # one label has no contrast


def test_models_that_read_listen_or_do_half_of_both():
    reader = crossed(lambda text, manner: sure(text))
    listener = crossed(lambda text, manner: sure(manner))
    half = crossed(lambda text, manner: [(a + b) / 2 for a, b in zip(sure(text), sure(manner), strict=True)])
    deaf = crossed(lambda text, manner: sure("neu"))
    tables = {"reader": reader, "listener": listener, "half": half, "deaf": deaf}
    found = compare({name: effects(real(), table, LABELS) for name, table in tables.items()})
    assert found["effect"].tolist() == [*EFFECTS] * 4
    right = [1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1], [0.5] * 4
    for name, expected in zip(tables, right, strict=False):
        assert list(values(found, name).values())[1 : 1 + len(expected)] == pytest.approx(expected), name
    # Of the six pairs in which they differ two have neutral words, and two the neutral manner.
    assert list(values(found, "deaf").values())[1:] == pytest.approx([0, 0, 0, 0, 1 / 3, 1 / 3])
    # ang: 1 less 0; neu: 1 less 1/20; sad: 9/10 less 0
    assert values(found, "reader")["real"] == pytest.approx((1 + 0.95 + 0.9) / 3)
    assert found.loc[found["name"] == "reader", ["diff_low", "p"]].isna().all(axis=None)
    listens = found[found["name"] == "listener"].set_index("effect")
    assert listens.loc["words", ["diff", "diff_low", "diff_high"]].tolist() == pytest.approx([-1, -1, -1])
    assert listens.loc["real", "diff"] == 0 and (found["p_holm"].dropna() >= found["p"].dropna()).all()


def test_intervals_draw_texts_with_all_that_was_said_of_them():
    rng = np.random.default_rng(1)
    shift = {f"{text} {number}": rng.normal() for text in LABELS for number in range(TEXTS)}
    table = crossed(lambda text, manner: sure(text))
    logits = np.log(table[P].to_numpy() + 0.2) + np.outer(table["words"].map(shift), [1, 0, -1])
    table[P] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    sums = of_spoken(table, LABELS)
    low, high, _ = stats.bootstrap(len(sums.clusters), sums.resampled)
    by_text = table[table["manner"] == "neu"].groupby("words")[P].mean()
    drawn = []
    for _ in range(500):
        sample = by_text.iloc[rng.integers(0, len(by_text), len(by_text))]
        emotion = sample.index.str[:3]
        each = [sample[f"p_{e}"][emotion == e].mean() - sample[f"p_{e}"][emotion != e].mean() for e in LABELS]
        drawn.append(np.mean(each))
    level = stats.level_for(len(by_text))
    expected = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    assert [low[0], high[0]] == pytest.approx(expected.tolist(), abs=0.03)


def test_a_neutral_manner_that_is_no_class_counts_for_the_words_alone():
    labels = ["ang", "sad"]
    table = crossed(lambda text, manner: sure(manner if manner in labels else text, labels), labels, [*labels, "neu"])
    sums = of_spoken(table, labels)
    found = sums.figures(sums.sums.sum(0))
    # The words decide in the neutral manner alone, one of three.
    assert found[[0, 1, 3, 4, 5]].tolist() == pytest.approx([1, 1 / 3, 1, 0, 1])
    assert np.isnan(found[2])


def test_a_label_that_no_manner_is_known_for_and_texts_of_several_seeds():
    table = crossed(lambda text, manner: sure(manner), manners=["neu", "sad"])
    sums = of_spoken(table, LABELS)
    again = of_spoken(pd.concat([table, table]), LABELS)
    for each in (sums, again):
        assert each.figures(each.sums.sum(0))[[2, 3]].tolist() == pytest.approx([1, 1])
    assert len(again.clusters) == 3 * TEXTS


def test_emotions_may_have_unequal_numbers_of_texts():
    for answer, expected in ((lambda text, manner: sure(text), [1, 1, 0, 0, 1, 0]),
                             (lambda text, manner: sure(manner), [0, 0, 1, 1, 0, 1])):  # fmt: skip
        table = crossed(answer)
        sums = of_spoken(table[~table["words"].isin(["ang 0", "ang 1", "ang 2", "sad 5"])], LABELS)
        assert sums.figures(sums.sums.sum(0)).tolist() == pytest.approx(expected)


def test_other_texts_are_refused():
    table = crossed(lambda text, manner: sure(text))
    other = table[~table["words"].isin(["ang 0"])]
    pair = {name: effects(real(), each, LABELS) for name, each in (("a", table), ("b", other))}
    with pytest.raises(UserError, match="b was not tested on what a was"):
        compare(pair)
