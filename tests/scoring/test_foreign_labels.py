"""Labels of other models as the corpus's: words, codes, other spellings, files of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.core.errors import UserError
from local.scoring.foreign_labels import map_labels, read_listed

CLASSES = ["ang", "hap", "neu", "sad"]


@pytest.mark.parametrize(
    ("labels", "classes", "targets"),
    [
        ("Angry HAPPINESS neutral sad", CLASSES, "ang hap neu sad"),
        ("Wut gioia tristesse", CLASSES, "ang hap sad"),
        ("W F N T L", CLASSES, "ang hap neu sad (bor)"),  # of EMO-DB
        ("05 03 01 08", CLASSES, "ang hap neu (sur)"),  # of RAVDESS
        ("A S U", CLASSES, "ang sad (sur)"),  # of MSP-Podcast, which alone has U
        ("gio rab tri", CLASSES, "hap ang sad"),  # of EMOVO
        ("A H N S", CLASSES, "ang hap neu sad"),  # of several corpora, in all of which they are the same
        ("anger Joy calm", ["Angry", "joy"], "Angry joy (cal)"),  # a user's own labels
        ("angry calm", ["01", "02", "05"], "05 02"),  # a user's table with RAVDESS's codes
        ("hap exc", ["exc", "hap", "joyful"], "hap exc"),  # joyful is hap, too: a label of the corpus comes first
    ],
)
def test_a_label_is_what_it_means(labels, classes, targets):
    expected = dict(zip(labels.split(), targets.split(), strict=True))
    assert map_labels(labels.split(), classes).targets == expected


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ("ang angri", CLASSES, "'angri': did you mean 'ang'?"),
        ("LABEL_0 LABEL_1", CLASSES, "'LABEL_0'"),
        ("A N", CLASSES, "'A'"),  # fear in EMO-DB, anger in MSP-Podcast
        ("5 ang", CLASSES, "'5'"),  # the index of a class, perhaps, and not RAVDESS's 05
        ("Joy sad", ["hap", "joyful", "sad"], "'Joy' may be hap or joyful"),
        ("bor cal", CLASSES, "the model has none of the corpus's classes: bor cal"),
    ],
)
def test_what_is_not_clear_is_refused(labels, classes, said):
    with pytest.raises(UserError) as error:
        map_labels(labels.split(), classes)
    assert said in error.value.what and "--labels" in error.value.remedy


def test_what_a_model_lacks_is_known_only_from_all_of_its_labels():
    some = map_labels(["angry", "sad"], CLASSES)
    assert (some.lacking, some.unpredicted) == ([], ["hap", "neu"])
    of_posteriors = map_labels(["angry", "sad"], CLASSES, complete=True)
    for whole in (of_posteriors, map_labels(["sad"], CLASSES, {"a": "ang", "sad": "sad"})):
        assert (whole.lacking, whole.unpredicted) == (["hap", "neu"], [])
    assert map_labels(["sad"], CLASSES, {"a": "ang"}).unpredicted == ["hap", "neu"]  # the file has not all labels


def test_a_file_comes_before_the_aliases(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("model,corpus\n\nangry, sad\nexcited,hap\ncalm,\n", encoding="utf-8-sig")
    listed = read_listed(path, CLASSES)
    assert listed == {"angry": "sad", "excited": "hap", "calm": ""}
    mapped = map_labels(["angry", "neutral"], CLASSES, listed)
    assert mapped.targets == {"angry": "sad", "excited": "hap", "calm": "(calm)", "neutral": "neu"}
    assert mapped.lines() == [
        *("angry is sad", "calm is no class of the corpus"),
        *("excited is hap", "neutral is neu"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("angry,ang\n", ":1: the header is missing"),
        ("model,corpus\nangry,anh\n", ":2: the corpus has no label 'anh'; did you mean 'ang'?"),
        ("model,corpus\nangry\n", ":2: it has not two fields"),
        ("model,corpus\n,ang\n", ":2: it has not two fields"),
        ("model,corpus\na,ang\na,sad\n", ":3: the label 'a' is there twice"),
        ("model,corpus\n", "has no label"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text, said):
    path = tmp_path / "labels.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as error:
        read_listed(path, CLASSES)
    assert said in error.value.what and "ang hap neu sad" in error.value.remedy
