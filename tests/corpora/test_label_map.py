"""Label maps: which label a corpus's label becomes, and what is refused."""

from __future__ import annotations

import pandas as pd
import pytest

from local.core.errors import UserError
from local.corpora import NAMES, Corpus, module
from local.corpora.aliases import ALIASES, READY, aliases, code_of
from local.corpora.label_map import LabelMap, locate


def corpus(*labels: str, name: str = "own", **columns: list[str]) -> Corpus:
    table = pd.DataFrame({"ID": [f"u{i}" for i in range(len(labels))], "emo": list(labels), **columns})
    return Corpus(name, READY, table, "for a test")


def written(folder, text: str, name: str = "mine.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def emotions(mapped: Corpus) -> list[str]:
    return mapped.table["emo"].tolist()


def test_merged_left_out_and_counted(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used\nang,bad\nsad,bad\nhap,good\nxxx,\n"))
    mapped = labels.apply(corpus("ang", "xxx", "hap", "sad", "sad", "xxx"))
    assert mapped.name == "own@mine"
    assert mapped.table[["ID", "emo", "label"]].to_numpy().tolist() == [
        ["u0", "bad", "ang"],
        ["u2", "good", "hap"],
        ["u3", "bad", "sad"],
        ["u4", "bad", "sad"],
    ]
    assert mapped.labels.endswith("): bad of ang 1, sad 2; good of hap 1; left out: xxx 2")
    assert mapped.labels.startswith("map mine (")


def test_case_blanks_and_aliases(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used\nang,ang\nVery happy,hap\n"))
    assert emotions(labels.apply(corpus("Angry", "very_happy", "RAGE", "ANG"))) == ["ang", "hap", "ang", "ang"]


def test_a_row_of_one_corpus_goes_first(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used,corpus\na,ang,\na,fea,emodb\nn,neu,\n"))
    assert emotions(labels.apply(corpus("a", "n"))) == ["ang", "neu"]
    assert emotions(labels.apply(corpus("a", "n", name="emodb"))) == ["fea", "neu"]
    written(tmp_path, "label,used,corpus\na,ang,\na,fea,EmoDB\nn,neu,\n")  # case does not count
    assert emotions(LabelMap.read(tmp_path / "mine.csv").apply(corpus("a", "n", name="emodb"))) == ["fea", "neu"]
    several = corpus("a", "a", "n", corpus=["emodb", "other", "emodb"])
    assert emotions(labels.apply(several)) == ["fea", "ang", "neu"]


def test_rows_of_a_corpus_that_is_unknown_are_told(tmp_path):
    text = "label,used,corpus\na,ang,\na,fea,emobd\nn,neu,\nn,sad,cremad\na,hap,ravdess\n"
    labels = LabelMap.read(written(tmp_path, text))
    (told,) = labels.apply(corpus("a", "n", name="emodb")).warnings
    assert told.endswith("1 row of corpus 'emobd', which is not here, not used: did you mean 'emodb'?")
    first, second = labels.apply(corpus("a", "n", name="cremad-voted")).warnings
    assert "1 row of corpus 'cremad', which is not here, not used: did you mean 'cremad-voted'?" in first
    assert second.endswith("not used: did you mean 'emodb'?")  # ravdess is another corpus
    several = corpus("a", "n", corpus=["emodb", "Cremad"])
    assert len(labels.apply(several).warnings) == 1


def test_a_yaml_says_the_same(tmp_path):
    text = "ang: bad\nhap: good\nxxx:\n05: bad\nno: good\nemodb:\n  hap: bad\n"
    labels = LabelMap.read(written(tmp_path, text, "mine.yaml"))
    assert emotions(labels.apply(corpus("ang", "xxx", "hap", "5", "no"))) == ["bad", "good", "bad", "good"]
    assert emotions(labels.apply(corpus("hap", "no", name="emodb"))) == ["bad", "good"]


def test_every_unknown_label_is_named_with_a_suggestion(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used\nang,ang\nhap,hap\n"))
    with pytest.raises(UserError) as error:
        labels.apply(corpus("angyr", "angyr", "hap", "zzzz"))
    assert "corpus own: label 'angyr' (2 rows) is not in it: did you mean 'angry'?" in error.value.what
    assert (
        "label 'zzzz' (1 row) is not in it" in error.value.what
        and "zzzz' (1 row) is not in it:" not in error.value.what
    )


def test_a_word_that_is_right_is_not_suggested_for_itself_but_a_mistyped_line_is(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used\nanger,neg\nsadnes,neg\nhappiness,pos\n"))
    with pytest.raises(UserError) as error:
        labels.apply(corpus("anger", "sadness", "neutral"))
    assert "label 'sadness' (1 row) is not in it: did you mean 'sadnes'?" in error.value.what
    assert error.value.what.endswith("label 'neutral' (1 row) is not in it")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,used\nang,ang\nANG,hap\nsad,sad\n", "mine.csv:3: label 'ang' becomes 'hap' here and 'ang' before"),
        ("label,used\nang,a b\nsad,sad\n", "mine.csv:2: 'a b' has characters"),
        ("label,used\n,ang\nsad,sad\n", "mine.csv:2: label is empty"),
        ("label,used\nang,ang,\nsad,sad\n", "mine.csv:2: 3 fields where the header has 2"),
        ("label,used\nang,ang\nsad,\n", "fewer than two labels are used"),
        ("label,emotion\nang,ang\n", "lacks used"),
    ],
)
def test_what_is_no_map(tmp_path, text, words):
    with pytest.raises(UserError) as error:
        LabelMap.read(written(tmp_path, text))
    assert words in error.value.what


@pytest.mark.parametrize("text", ["- ang\n", "ang: [a\n", "", "ang: x\nang: y\n"])
def test_what_is_no_yaml_of_labels(tmp_path, text):
    with pytest.raises(UserError, match=r"mine\.yaml"):
        LabelMap.read(written(tmp_path, text, "mine.yaml"))


def test_one_emotion_left_is_refused(tmp_path):
    labels = LabelMap.read(written(tmp_path, "label,used\nang,ang\nhap,hap\nxxx,\n"))
    with pytest.raises(UserError, match="only 'hap' is left"):
        labels.apply(corpus("hap", "xxx", "hap"))
    with pytest.raises(UserError, match="nothing is left"):
        labels.apply(corpus("xxx"))


READY_MAPS = sorted(path.stem for path in READY.glob("*.csv") if path.stem != ALIASES)


def test_the_ready_maps_are_those_of_the_help():
    assert READY_MAPS == ["4class", "6class", "arousal", "valence"]


@pytest.mark.parametrize("name", READY_MAPS)
def test_a_ready_map_has_the_labels_of_every_corpus(name):
    labels = LabelMap.read(READY / f"{name}.csv")
    codes = set(aliases().values())
    assert {label for _, label in labels.used} == codes
    for each in NAMES:
        if each != "csv":
            for label in module(each).ABOUT.labels:
                assert labels.label_of(label, each) is not None, (each, label)


def test_what_the_ready_maps_make_of_labels():
    four = LabelMap.read(READY / "4class.csv")
    used = {label: four.label_of(label, "") for label in ("Angry", "excited", "calm", "fru", "SADNESS", "surprised")}
    assert used == {"Angry": "ang", "excited": "hap", "calm": "neu", "fru": "", "SADNESS": "sad", "surprised": ""}
    assert LabelMap.read(READY / "valence.csv").label_of("joy", "") == "positive"
    assert LabelMap.read(READY / "arousal.csv").label_of("boredom", "") == "low"


def test_two_spellings_of_a_used_label_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"mine\.csv:3: 'Ang' here is 'ang' before"):
        LabelMap.read(written(tmp_path, "label,used\na,ang\nb,Ang\nc,hap\n"))


def test_letters_mean_what_their_corpus_says():
    assert [code_of("A", name) for name in ("emodb", "msp-podcast", "")] == ["fea", "ang", None]
    assert (code_of("5", "ravdess"), code_of("05", "ravdess"), code_of("05")) == ("ang", "ang", None)


def test_where_a_map_is_found(tmp_path, monkeypatch):
    path = written(tmp_path, "label,used\nang,ang\nsad,sad\n", "4class.csv")
    assert locate("4class.csv", tmp_path) == path == locate(str(path), READY)
    assert locate("4class", tmp_path) == READY / "4class.csv"
    for word in ("5class", "aliases", "4class.txt"):
        with pytest.raises(UserError, match="neither a file") as error:
            locate(word, tmp_path)
        assert error.value.remedy == "take one of: 4class 6class arousal valence"
    with pytest.raises(UserError, match="cannot name a folder"):
        locate("a b.csv", written(tmp_path, "", "a b.csv").parent)
