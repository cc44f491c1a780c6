"""With labels that mean nothing every row of Table 3 stays at chance on the test set; with true ones it learns. Slow.

The labels are permuted within each set, the test set's too. A prediction may then follow from the audio and from
whatever a training makes of it: each is right with the probability 1/4, and how many are varies as Binomial(64, 1/4).
Were the test labels left as they are, there would be no such bound: the sounds of an emotion are alike, and all get the
same label by chance. Beyond the bound would be a test label that reaches a training, or one that is in the order, the
length or the name of what is read.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from table3_rows import EMOTIONS, MANIFESTS, YAMLS, run, workplace, write_corpus

from local.scoring import predictions

pytestmark = pytest.mark.slow
TESTED, CHANCE = 64, 1 / len(EMOTIONS)
# Below or above these is one number of right ones in 10,000: 4 and 30 of 64, UA 6 and 47 %.
LEAST, MOST = (int(bound) for bound in binom.interval(1 - 1e-4, TESTED, CHANCE))
# Of a small set, and from random weights: with as many epochs as it takes, and longer steps than in the YAML.
EPOCHS = {"mtl_wav2vec2": 20, "emotion2vec_probe": 16, "fine_tuning": 20, "liu_local_global": 1, "lu_asr_attention": 3}
EPOCHS |= {"pappagari_xvector": 6, "superb_probe": 40, "wang_dual_lstm": 2, "wu_capsules": 3, "peng_asrnn": 4}
EPOCHS |= {"sajjad_key_segments": 4}
RATES = dict.fromkeys(EPOCHS, 1e-3) | dict.fromkeys(("mtl_wav2vec2", "fine_tuning", "superb_probe"), 5e-3)
SETS = ("train", "valid", "test")
Sets = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    table = write_corpus(tmp_path_factory.mktemp("sounds"), {"A": TESTED, "B": 8, "C": 32}, least=0.4, odd=False)
    with workplace(tmp_path_factory.mktemp("rows"), table) as given:
        yield given


@pytest.fixture(scope="module")
def true(words) -> Sets:
    """The sets of the fold, as stage 1 made them."""
    return {name: pd.read_csv(MANIFESTS / f"{name}.csv", dtype=str, keep_default_na=False) for name in SETS}


def shuffled(sets: Sets, row: str) -> Sets:
    """The sets with the emotions of each permuted, of each row in another order."""
    chance = np.random.default_rng(list(YAMLS).index(row))
    return {name: table.assign(emo=chance.permutation(table["emo"].to_numpy())) for name, table in sets.items()}


def count_right(words: list[str], sets: Sets, row: str, name: str) -> int:
    """Train a row on sets, and count the utterances of the test set that get their emotion."""
    for each, table in sets.items():
        table.to_csv(MANIFESTS / f"{each}.csv", index=False)
    overrides = {"lr": RATES[row]} if row in RATES else {}
    folder = run(words, row, "train", "decode", name=f"{row}-{name}", epochs=EPOCHS.get(row, 0), **overrides)
    found = predictions.read(folder / "predictions.csv")
    assert (found["emo"].value_counts() == TESTED * CHANCE).all()
    return int((found["emo"] == found["emo_hyp"]).sum())


@pytest.fixture(scope="module")
def by_chance(words, true):
    """Count what a row gets right with shuffled labels, once."""
    return cache(lambda row: count_right(words, shuffled(true, row), row, "shuffled"))


@pytest.mark.parametrize("row", YAMLS)
def test_shuffled_labels_stay_at_chance(by_chance, row):
    assert LEAST <= by_chance(row) <= MOST


def test_all_rows_together_are_within_five_points_of_chance(by_chance):
    share = sum(map(by_chance, YAMLS)) / (TESTED * len(YAMLS))
    assert abs(share - CHANCE) < 0.05  # 3.4 deviations: each row has an order of its own


@pytest.mark.parametrize("row", YAMLS)
def test_true_labels_are_learned(words, true, row):
    right = count_right(words, true, row, "true")
    assert right == TESTED * CHANCE if row == "majority" else right > MOST


def test_a_test_set_within_the_training_set_is_not_at_chance(words, true):
    sets = shuffled(true, "logmel_logistic")
    leaking = sets | {"train": pd.concat([sets["train"], sets["test"]])}
    assert count_right(words, leaking, "logmel_logistic", "leaking") > MOST
