"""Labels of other models as the corpus's: words, codes, other spellings, files of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.core.errors import UserError
from local.corpora.aliases import READY
from local.corpora.label_map import LabelMap, locate
from local.scoring.foreign_labels import listed_in, map_labels

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


def a_map(folder: Path, text: str, name: str = "mine.csv") -> LabelMap:
    (folder / name).write_text(text, encoding="utf-8-sig")
    return LabelMap.read(folder / name, least=0)


def test_what_a_model_lacks_is_known_only_from_all_of_its_labels(tmp_path):
    some = map_labels(["angry", "sad"], CLASSES)
    assert (some.lacking, some.unpredicted) == ([], ["hap", "neu"])
    of_posteriors = map_labels(["angry", "sad"], CLASSES, complete=True)
    listed = a_map(tmp_path, "label,used\na,ang\nsad,sad\n")
    for whole in (of_posteriors, map_labels(["sad"], CLASSES, listed)):
        assert (whole.lacking, whole.unpredicted) == (["hap", "neu"], [])
    # The file has not all labels; a ready map is nobody's list.
    assert map_labels(["sad"], CLASSES, a_map(tmp_path, "label,used\na,ang\n")).unpredicted == ["hap", "neu"]
    assert map_labels(["sad"], CLASSES, LabelMap.read(READY / "4class.csv")).unpredicted == ["ang", "hap", "neu"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("label;used\n\nAngry; sad\nexcited;hap\ncalm;\n", "mine.csv"),
        ("Angry: sad\nexcited: hap\ncalm:\n", "mine.yaml"),
    ],
)
def test_a_map_comes_before_the_aliases(tmp_path, text, name):
    labels = a_map(tmp_path, text, name)
    assert listed_in(labels, ["angry"], CLASSES) == {"angry": "sad", "excited": "hap", "calm": ""}
    mapped = map_labels(["angry", "neutral"], CLASSES, labels)
    assert mapped.targets == {"angry": "sad", "excited": "hap", "calm": "(calm)", "neutral": "neu"}
    assert mapped.lines() == [
        *("angry is sad", "calm is no class of the corpus"),
        *("excited is hap", "neutral is neu"),
    ]


def test_a_ready_map_by_its_name():
    ready = LabelMap.read(locate("4class", Path()))
    mapped = map_labels(["angry", "excited", "disgust", "neutral"], ["ang", "hap", "neu", "sad"], ready, complete=True)
    assert mapped.targets == {"angry": "ang", "excited": "hap", "disgust": "(disgust)", "neutral": "neu"}
    assert mapped.lacking == ["sad"]
    of_two = map_labels(["Joy", "fear"], ["negative", "positive"], LabelMap.read(locate("valence", Path())))
    assert of_two.targets == {"Joy": "positive", "fear": "negative"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,used\nangry,anh\n", "'anh', and the corpus has no such label; did you mean 'ang'?"),
        ("label,used\n", "no label is in it"),
        ("label,used\na,ang\na,sad\n", "mine.csv:3: label 'a' becomes 'sad' here and 'ang' before"),
    ],
)
def test_a_broken_map_is_refused(tmp_path, text, said):
    with pytest.raises(UserError) as error:
        map_labels(["sad"], CLASSES, a_map(tmp_path, text))
    assert said in error.value.what
    assert listed_in(a_map(tmp_path, "label,used\nsurprise,sur\n"), [], CLASSES) == {"surprise": ""}  # known elsewhere
