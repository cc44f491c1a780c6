"""Protocol `official`: the corpus's own lists as sets, worked by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from local.core.errors import UserError
from local.splits import audit, checks, naming, official, protocols

LETTERS = {"a": "train", "v": "valid", "t": "test", "1": "test1", "2": "test2", "-": "", "x": "dev"}


def table(lists: str, emotions: str = "", speakers: str = "") -> pd.DataFrame:
    """Utterances u0, u1, ... with a letter each for list, emotion and speaker; by default emotions alternate."""
    emotions = emotions or ("hs" * len(lists))[: len(lists)]
    frame = pd.DataFrame({"split": [LETTERS[letter] for letter in lists], "emo": list(emotions)})
    frame = frame.assign(ID=[f"u{i}" for i in range(len(lists))], session="", recording="", wrd="")
    return frame.assign(spk_id=list(speakers.replace("-", " ")) if speakers else "").replace(" ", "")


def sets(frame: pd.DataFrame, valid: str, **more: object) -> dict[str, str]:
    """By fold the set of each utterance, a letter each: a for training, - for left out."""
    splits = protocols.split_all(frame, "official", valid, **more)
    letters = {"train": "a", "valid": "v", "test": "t", checks.LEFT_OUT: "-"}
    return {fold: "".join(map(letters.get, found)) for fold, found in splits.items()}


LISTS = "aaaavv1122--"


def test_the_sets_of_each_fold():
    frame = table(LISTS)
    assert protocols.fold_names(frame, "official") == ["test1", "test2"]
    assert protocols.test_folds(frame, "official").tolist() == [""] * 6 + ["test1"] * 2 + ["test2"] * 2 + [""] * 2
    assert sets(frame, "list") == {"test1": "aaaavvtt----", "test2": "aaaavv--tt--"}
    for valid in ("none", "oracle"):  # list valid does not train
        assert sets(frame, valid) == {"test1": "aaaa--tt----", "test2": "aaaa----tt--"}
    assert sets(table("aatt"), "none") == {"test": "aatt"}


def test_whatever_is_drawn_is_of_the_training_list_and_the_same_in_every_fold():
    frame = table("a" * 40 + LISTS, speakers="ABCDEFGHIJ" * 5 + "AB")
    frame["recording"] = frame["spk_id"] + "r"
    for valid in ("recordings", "speakers", "utterances"):
        one, two = protocols.split_all(frame, "official", valid).values()
        assert one[one == "valid"].index.tolist() == two[two == "valid"].index.tolist()
        assert 0 < (one == "valid").sum() <= 6 and set(frame["split"][one == "valid"]) == {"train"}
        assert one[frame["split"].isin(["valid", "test2", ""])].unique().tolist() == [checks.LEFT_OUT]
        key = {"recordings": "recording", "speakers": "spk_id"}.get(valid)
        assert key is None or not set(frame[key][one == "valid"]) & set(frame[key][one == "train"])


def test_text_is_held_out_of_lists_too():
    frame = table("aaavvv111").assign(wrd=list("ABCABCABC"))
    assert sets(frame, "list", text_held=True) == {"test1": "-aa-vvt--"}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (table("----"), "no utterance is in a list"),
        (table("aatt").drop(columns="split"), "no utterance is in a list"),
        (table("vvtt"), "no utterance is in list train, but in test, valid"),
        (table("aavv"), "no utterance is in a test list, but in train, valid"),
        (table("aattxt"), "utterance u4 is in the list 'dev', which is none of train, valid, test, test1, test2, ..."),
        (table("aa11tt", "hshhhs"), "list test1 has only one emotion, h"),
        (table("aa11", "sshs"), "list train has only one emotion, s"),
    ],
)
def test_lists_that_cannot_be_folds(frame, reason):
    assert "official" not in protocols.served(frame)
    for ask in (protocols.fold_names, protocols.test_folds, lambda *given: protocols.split_all(*given, "none")):
        with pytest.raises(UserError) as refusal:
            ask(frame, "official")
        assert refusal.value.what == f"this corpus cannot serve protocol 'official' (column split): {reason}"
        assert refusal.value.remedy.startswith("take one of: random (") and "split for official" in refusal.value.remedy


@pytest.mark.parametrize(
    ("lists", "valid", "message"),
    [
        ("aatt", "list", "validation 'list' needs utterances in list valid, and none is"),
        (LISTS, "partner", "validation 'partner' is of protocol speaker"),
        (LISTS, "speakers", "needs a speaker for every training utterance"),
        (LISTS, "recordings", "needs a recording"),
    ],
)
def test_validations_that_the_lists_do_not_serve(lists, valid, message):
    with pytest.raises(UserError, match=message):
        protocols.split_all(table(lists), "official", valid)


def test_list_is_a_validation_of_this_protocol_alone():
    frame = table(LISTS, speakers="AABBCCDDEEFF")
    with pytest.raises(UserError, match="validation 'list' is of protocol official alone"):
        protocols.split_all(frame, "speaker", "list")


def test_emotions_of_no_list_are_not_asked_of_the_training_list():
    frame = table(LISTS, "hshshshshscc")
    splits, labels = protocols.split_all(frame, "official", "list"), ["h", "s"]
    assert sorted(protocols.used(frame, "official")["emo"].unique()) == labels
    assert protocols.used(frame, "random") is frame
    checks.refuse_bad_folds(frame, splits, "list", labels)
    with pytest.raises(UserError, match="no c in the training set"):
        checks.refuse_bad_folds(frame, splits, "list")
    with pytest.raises(UserError, match="fold test: only h in the validation set"):
        one = table("aavvtt", "hshhhs")
        checks.refuse_bad_folds(one, protocols.split_all(one, "official", "list"), "list")


def test_an_utterance_twice_is_refused_and_one_without_a_test_is_not():
    frame = table(LISTS)
    checks.assert_partition(frame, protocols.test_folds(frame, "official"), untested=True)
    with pytest.raises(UserError, match="u0 is twice"):
        protocols.split_all(frame.assign(ID=["u0", "u0", *frame["ID"][2:]]), "official", "list")
    with pytest.raises(UserError, match="tested in no fold"):
        checks.assert_partition(frame, protocols.test_folds(frame, "official"))


@pytest.mark.parametrize(
    ("lists", "speakers", "expected"),
    [
        (LISTS, "", "list"),
        ("aaaatt", "ABAB--", "speakers"),  # who is tested need not be known
        ("aaaatt", "AAAABC", "none"),
        ("aaaatt", "ABA-BC", "none"),
    ],
)
def test_the_default_validation(lists, speakers, expected):
    frame = table(lists, speakers=speakers)
    assert protocols.default_valid("official", frame) == expected
    if expected == "none":
        assert protocols.default_valid("official", frame.assign(recording="r")) == "recordings"


def test_the_default_protocol_ignores_no_list():
    assert protocols.default_protocol(table(LISTS)) == "official"
    assert protocols.default_protocol(table("x---")) == "official"  # and it is refused, with its reason
    assert protocols.default_protocol(table("----")) == "random"
    assert protocols.default_protocol(table(LISTS, speakers="AABBCCDDEEFF")) == "speaker"


def test_what_is_left_out_is_told():
    assert protocols.left_out(table(LISTS), "official", "list") == [
        "2 of 12 utterances are in no list, and in no set",
        "in each fold the test lists of the others (test1 2, test2 2); all have the same training set, and published "
        "figures are of one list each",
    ]
    assert protocols.left_out(table("aavvtt"), "official", "speakers") == [
        "the 2 utterances of list valid, as the validation is speakers"
    ]
    assert protocols.left_out(table("aavvtt"), "official", "list") == []
    assert protocols.left_out(table(LISTS), "random", "none") == []
    assert official.sizes(table(LISTS)) == "test1 2, test2 2, train 4, valid 2, none 2"
    assert official.sizes(table("aatt")) == "test 2, train 2" and official.sizes(table("--")) == ""


def test_what_lists_share_is_allowed_and_told_but_for_utterances_and_audio():
    frame = table("aaaavvtttt", speakers="AABBCCACDD").assign(wav=list("qrstuvwxyz"))
    splits = protocols.split_all(frame, "official", "list")
    keys = frame[["ID", "spk_id", "wav", "recording", "session", "wrd"]].astype("category")
    keys.columns = ["utterance", "speaker", "audio", "recording", "session", "transcript"]
    found = audit.find_leaks(splits, keys)
    audit.refuse("official", found)
    assert audit.describe(found, ["test"], frame, validation=True) == [
        "in every fold, 25 % of the tested utterances share their speaker with the training set",
        "in every fold, 25 % of the tested utterances share their speaker with the validation set",
        "whether the training set shares a recording, session or transcript with the test set is unknown",
    ]
    overlap = audit.speaker_overlap(found, {"test": 4}, frame["spk_id"])
    assert overlap == 1 / 4
    assert naming.describe("official", "10/10", overlap) == (
        "trained on the corpus's own training list, each fold tests one of its test lists; the speakers of 25 % of the "
        "tested utterances are also in the training set"
    )
    copied = frame.assign(wav=["q", *"rstuvwxyq"])
    keys["audio"] = copied["wav"].astype("category")
    with pytest.raises(UserError, match=f"audio across train-test: {copied['ID'][0]} = {copied['ID'][9]}"):
        audit.refuse("official", audit.find_leaks(splits, keys))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("official", "4/4", 1.0), "one of its test lists, whose speakers are also in the training set"),
        (("official-hold_text", "4/4", 0.0), "lists, whose speakers are not in the training set; only a third of the"),
        (("official", "3/4", 0.0), "who speaks is known for 3 of 4 utterances only, so the training set may have"),
        (("official-valid_oracle-OPTIMISTIC", "4/4", 0.0), "training set; OPTIMISTIC: the epoch is the best of all"),
        (("corpus", "4/4", 0.0), "each fold tests a whole corpus, whose speakers are not in the training set"),
    ],
)
def test_the_words_of_the_protocol_say_who_is_in_the_training_list(given, words):
    assert words in naming.describe(*given)


def test_names_in_paths():
    assert naming.path_name("official", True, "oracle") == "official-valid_oracle-OPTIMISTIC-hold_text"
    assert naming.without_oracle("official-valid_oracle-OPTIMISTIC") == "official"
    assert naming.is_official("official-hold_text") and not naming.is_official("random-OPTIMISTIC")
    assert naming.describe_valid("list") == (
        "the corpus's own validation list chooses the epoch; the test set plays no role in it"
    )
