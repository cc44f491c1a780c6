"""Protocols on a corpus of IEMOCAP's full size and on small tables, and the audit of what they make."""

from __future__ import annotations

import csv
from itertools import combinations, product

import pandas as pd
import pytest
import soundfile

from local.core.errors import UserError
from local.corpora import iemocap, nemo
from local.splits import audit, protocols

ACTORS = ["01F", "01M", "02F", "02M", "03F", "03M", "04F", "04M", "05F", "05M"]
SESSIONS = ["Ses01", "Ses02", "Ses03", "Ses04", "Ses05"]
TEST_SIZES = {
    "recording": dict(zip(ACTORS, (507, 578, 505, 518, 536, 615, 553, 478, 644, 597), strict=True)),
    "speaker": dict(zip(ACTORS, (528, 557, 481, 542, 522, 629, 528, 503, 590, 651), strict=True)),
    "session": dict(zip(SESSIONS, (1085, 1023, 1151, 1031, 1241), strict=True)),
}
EVERY_FOLD = [(protocol, fold) for protocol, sizes in TEST_SIZES.items() for fold in sizes]


def parts(table: pd.DataFrame, protocol: str, fold: str, valid: str) -> dict[str, pd.DataFrame]:
    """The three parts of a fold as tables."""
    folds = protocols.test_folds(table, protocol, iemocap.recording_fold)
    part = protocols.split(table, folds, fold, valid)
    return {name: table[part == name] for name in ("train", "valid", "test")}


def speakers(table: pd.DataFrame) -> set[str]:
    """Who speaks, read from the names of the turns: session, and the letter after the last underscore."""
    return {name[3:5] + name.rpartition("_")[2][0] for name in table["ID"]}


def toy(spk_id: str = "", session: str = "", recording: str = "") -> pd.DataFrame:
    """A table of utterances u0, u1, ...: one letter each for speaker, session and recording, or none."""
    size = max(len(spk_id), len(session), len(recording))
    columns = {"spk_id": spk_id, "session": session, "recording": recording}
    columns = {name: list(letters.replace("-", " ") or " " * size) for name, letters in columns.items()}
    table = pd.DataFrame({"ID": [f"u{i}" for i in range(size)]} | columns)
    return table.replace(" ", "")


# ---------------------------------------------------------------- IEMOCAP in full size


@pytest.mark.parametrize("protocol", TEST_SIZES)
def test_sizes_of_the_test_parts(iemocap_table, protocol):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    assert folds.value_counts().sort_index().to_dict() == TEST_SIZES[protocol]
    assert len(folds) == sum(TEST_SIZES[protocol].values()) == 5531


@pytest.mark.parametrize("protocol", TEST_SIZES)
def test_every_utterance_is_tested_once(iemocap_table, protocol):
    tested = [set(parts(iemocap_table, protocol, fold, "none")["test"]["ID"]) for fold in TEST_SIZES[protocol]]
    assert not any(one & other for one, other in combinations(tested, 2))
    assert set().union(*tested) == set(iemocap_table["ID"])


@pytest.mark.parametrize(("protocol", "fold"), EVERY_FOLD)
def test_what_the_test_part_is_and_whom_it_shares(iemocap_table, protocol, fold):
    part = parts(iemocap_table, protocol, fold, "none")
    begins = {"recording": f"Ses{fold}_", "speaker": f"Ses{fold[:2]}", "session": fold}[protocol]
    ends = f"_{fold[2]}" if protocol == "speaker" else "_"
    wanted = {name for name in iemocap_table["ID"] if name.startswith(begins) and ends in name[-5:]}
    assert set(part["test"]["ID"]) == wanted
    assert set(part["train"]["ID"]) == set(iemocap_table["ID"]) - wanted  # the paper: all the rest trains
    assert part["valid"].empty
    shared = speakers(part["test"]) & speakers(part["train"])
    assert shared == ({fold[:2] + "F", fold[:2] + "M"} if protocol == "recording" else set())
    assert not set(part["test"]["recording"]) & set(part["train"]["recording"]) or protocol == "speaker"


@pytest.mark.parametrize("fold", ACTORS)
def test_the_partner_validates_and_eight_train(iemocap_table, fold):
    assert protocols.default_valid("speaker", iemocap_table) == "partner"
    part = parts(iemocap_table, "speaker", fold, "partner")
    partner = fold[:2] + {"F": "M", "M": "F"}[fold[2]]
    assert speakers(part["test"]) == {fold} and speakers(part["valid"]) == {partner}
    assert speakers(part["train"]) == set(ACTORS) - {fold, partner}
    sizes = [len(part[name]) for name in ("train", "valid", "test")]
    session, own = TEST_SIZES["session"][f"Ses{fold[:2]}"], TEST_SIZES["speaker"][fold]
    assert sizes == [5531 - session, session - own, own]


@pytest.mark.parametrize(("protocol", "fold"), EVERY_FOLD)
def test_whole_recordings_are_held_out(iemocap_table, protocol, fold):
    part = parts(iemocap_table, protocol, fold, "recordings")
    plain = parts(iemocap_table, protocol, fold, "none")
    assert set(part["test"]["ID"]) == set(plain["test"]["ID"])
    held_out = set(part["valid"]["recording"])
    assert not held_out & set(part["train"]["recording"])
    assert set(part["valid"]["ID"]) == set(plain["train"]["ID"][plain["train"]["recording"].isin(held_out)])
    assert 0.09 < len(part["valid"]) / len(plain["train"]) < 0.11
    assert speakers(part["valid"]) & speakers(part["test"]) == set() or protocol == "recording"


@pytest.mark.parametrize("protocol", ["recording", "session"])
def test_the_same_recordings_are_drawn_again(iemocap_table, protocol):
    assert protocols.default_valid(protocol, iemocap_table) == "recordings"
    drawn = []
    for fold in TEST_SIZES[protocol]:
        part = parts(iemocap_table, protocol, fold, "recordings")
        shuffled = parts(iemocap_table.sample(frac=1, random_state=7), protocol, fold, "recordings")
        assert set(part["valid"]["ID"]) == set(shuffled["valid"]["ID"])
        drawn.append(frozenset(part["valid"]["recording"]))
    assert len(set(drawn)) == len(drawn)  # not the same ones in every fold


def audio_less(table: pd.DataFrame) -> pd.DataFrame:
    """The keys of the audit, each utterance with audio of its own."""
    columns = {"utterance": "ID", "audio": "wav", "speaker": "spk_id", "recording": "recording", "session": "session"}
    return pd.DataFrame({kind: table[column] for kind, column in {**columns, "transcript": "wrd"}.items()}).astype(
        "category"
    )


@pytest.mark.parametrize(("protocol", "valid"), [("speaker", "partner"), *product(TEST_SIZES, ["recordings", "none"])])
def test_the_audit_passes_all_folds(iemocap_table, protocol, valid):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    audit.assert_partition(iemocap_table, folds)
    keys = audio_less(iemocap_table)
    for fold in TEST_SIZES[protocol]:
        part = protocols.split(iemocap_table, folds, fold, valid)
        audit.assert_parts(fold, part)
        found = audit.leaks(fold, keys, part)
        audit.refuse(protocol, found)
        speakers = found[(found["kind"] == "speaker") & (found["parts"] == "train-test")]
        if protocol == "recording":  # both actors of every tested recording also train
            assert speakers["share"].tolist() == [1.0] and speakers["count"].tolist() == [TEST_SIZES[protocol][fold]]
        else:
            assert speakers.empty


def test_a_partner_needs_folds_of_one_speaker(iemocap_table):
    for protocol, fold in (("recording", "01F"), ("session", "Ses01")):
        with pytest.raises(UserError, match="one speaker each"):
            parts(iemocap_table, protocol, fold, "partner")


# ---------------------------------------------------------------- other corpora


def test_without_sessions_the_next_speaker_validates_and_the_last_ones_is_the_first():
    table = toy(spk_id="CABBAC")
    found = {fold: set(parts(table, "speaker", fold, "partner")["valid"]["spk_id"]) for fold in "ABC"}
    assert found == {"A": {"B"}, "B": {"C"}, "C": {"A"}}


def test_with_three_in_a_session_they_validate_in_turn():
    table = toy(spk_id="ABCDE", session="11122")
    found = {fold: set(parts(table, "speaker", fold, "partner")["valid"]["spk_id"]) for fold in "ABCDE"}
    assert found == {"A": {"B"}, "B": {"C"}, "C": {"A"}, "D": {"E"}, "E": {"D"}}


def test_a_speaker_alone_in_a_session_has_no_partner():
    with pytest.raises(UserError, match="speaker B has no partner in session 2"):
        parts(toy(spk_id="AB", session="12"), "speaker", "B", "partner")


@pytest.mark.parametrize(("n_recordings", "names"), [(10, "abcdefghij"), (11, None), (25, None)])
def test_many_recordings_are_dealt_to_ten_folds(n_recordings, names):
    letters = "abcdefghijklmnopqrstuvwxyz"[:n_recordings]
    table = toy(recording=letters * 3)
    folds = protocols.test_folds(table, "recording")
    if names:
        assert folds.tolist() == list(letters * 3)
    per_fold = table["recording"].groupby(folds).agg(set)
    sizes = sorted(len(recordings) for recordings in per_fold)
    assert len(per_fold) == 10 and sizes[-1] - sizes[0] <= 1
    assert sum(sizes) == n_recordings  # no recording in two folds


def test_held_out_recordings_are_nearest_to_a_tenth():
    # 20 recordings of two in the training part, of 40 utterances: two of them are a tenth.
    table = toy(recording="tt" + "abcdefghijklmnopqrsu" * 2)
    part = parts_of_recording(table, "t")
    assert (len(part["valid"]), part["valid"]["recording"].nunique()) == (4, 2)


def parts_of_recording(table: pd.DataFrame, fold: str) -> dict[str, pd.DataFrame]:
    part = protocols.split(table, table["recording"], fold, "recordings")
    return {name: table[part == name] for name in ("train", "valid", "test")}


@pytest.mark.parametrize(("recordings", "said"), [("tttaaabbb", "of 2 recordings"), ("ttab-", "needs a recording")])
def test_recordings_that_cannot_be_held_out(recordings, said):
    with pytest.raises(UserError, match=said):
        parts_of_recording(toy(recording=recordings), "t")


@pytest.mark.parametrize(
    ("table", "protocol", "reason", "remedy"),
    [
        (toy(spk_id="AABB"), "session", "4 of its 4 utterances have no session", "it can serve: speaker"),
        (toy(spk_id="AABB", session="12-2"), "session", "1 of its 4 utterances have no session", "speaker"),
        (toy(spk_id="AAAA", recording="abca"), "speaker", "there is only one", "it can serve: recording"),
        (toy(recording="----"), "recording", "4 of its 4 utterances have no recording", "add a column"),
    ],
)
def test_a_protocol_that_a_corpus_cannot_serve(table, protocol, reason, remedy):
    with pytest.raises(UserError) as refusal:
        protocols.test_folds(table, protocol)
    assert f"protocol '{protocol}'" in refusal.value.what and reason in refusal.value.what
    assert remedy in refusal.value.remedy


def test_nemo_has_speakers_only(tmp_path):
    (tmp_path / "samples").mkdir()
    with open(tmp_path / "data.tsv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["file_id", "emotion", "raw_text", "normalized_text", "speaker_id", "gender", "age"])
        for speaker, emotion in product(("EB0", "KD0"), ("anger", "sadness")):
            name = f"{speaker}_{emotion}_1.wav"
            rows.writerow([name, emotion, "Tak.", "tak", speaker, "female", "30"])
            soundfile.write(tmp_path / "samples" / name, [0.0] * 2400, 24_000)
    table = nemo.read(tmp_path).table
    assert protocols.test_folds(table, "speaker").value_counts().to_dict() == {"EB0": 2, "KD0": 2}
    for protocol in ("session", "recording"):
        with pytest.raises(UserError, match=rf"protocol '{protocol}' \(column {protocol}\): 4 of its 4") as refusal:
            protocols.test_folds(table, protocol)
        assert refusal.value.remedy == "it can serve: speaker"
    assert protocols.default_valid("speaker", table) == "partner"


def test_unknown_names_are_refused_with_the_known_ones_named():
    with pytest.raises(UserError, match="'fold'") as refusal:
        protocols.test_folds(toy(spk_id="AB"), "fold")
    assert refusal.value.remedy == "take one of: recording speaker session"
    with pytest.raises(UserError, match="'dev'") as refusal:
        parts(toy(spk_id="AB"), "speaker", "A", "dev")
    assert refusal.value.remedy == "take one of: partner recordings none"


# ---------------------------------------------------------------- the audit, on leaks made by hand


@pytest.mark.parametrize("leaks_to", ["train", "valid"])
@pytest.mark.parametrize(
    ("protocol", "kind", "column", "fold"),
    [
        ("speaker", "speaker", "spk_id", "03F"),
        ("session", "session", "session", "Ses03"),
        ("recording", "recording", "recording", "03F"),
    ],
)
def test_one_leaked_utterance_is_found(iemocap_table, protocol, kind, column, fold, leaks_to):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    part = protocols.split(iemocap_table, folds, fold, "none")
    leak = part.index[part == "test"][100]
    part[leak] = leaks_to
    found = audit.leaks(fold, audio_less(iemocap_table), part)
    with pytest.raises(UserError) as refusal:
        audit.refuse(protocol, found)
    named = iemocap_table[column][leak]
    shared = int((iemocap_table[column][part == "test"] == named).sum())
    said = f"fold {fold}: {shared} utterances share their {kind} across {leaks_to}-test: {named}"
    assert said in refusal.value.what and f"protocol {protocol}" in refusal.value.what


def test_leaks_worked_by_hand():
    table = toy(spk_id="AABBC", session="11122").assign(
        recording=list("rsrtu"), wrd=["YES", "NO", "YES", "", ""], wav=list("vwvxy")
    )
    part = pd.Series(["test", "test", "train", "train", "valid"])
    found = audit.leaks("A", audio_less(table), part)
    assert list(found.itertuples(index=False, name=None)) == [
        ("A", "train-test", "audio", 1, 0.5, "v"),
        ("A", "train-test", "recording", 1, 0.5, "r"),
        ("A", "train-test", "session", 2, 1.0, "1"),
        ("A", "train-valid", "session", 1, 1.0, "2"),
        ("A", "train-test", "transcript", 1, 0.5, "YES"),
    ]
    with pytest.raises(UserError, match="1 utterances share their audio across train-test: v"):
        audit.refuse("speaker", found)
    assert audit.describe(found, ["A", "B"]) == [
        "in 1 of 2 folds, 50 % of the tested utterances share their recording with training",
        "in 1 of 2 folds, 100 % of the tested utterances share their session with training",
        "in 1 of 2 folds, 50 % of the tested utterances share their transcript with training",
    ]
    assert audit.describe(found, ["B"]) == [
        "no tested utterance shares speaker, recording, session or transcript with training"
    ]


def test_the_same_audio_under_two_names_is_found_by_its_bytes(tmp_path):
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / name).write_bytes(content)
    table = toy(spk_id="ABC").assign(wav=["$data_root/a", "$data_root/b", "$data_root/c"], wrd="")
    keys = audit.keys(table, tmp_path)
    assert keys["audio"][0] == keys["audio"][2] != keys["audio"][1]
    found = audit.leaks("A", keys, pd.Series(["test", "train", "valid"]))
    with pytest.raises(UserError, match="share their audio across valid-test"):
        audit.refuse("speaker", found)
    (tmp_path / "b").unlink()
    with pytest.raises(UserError, match="No such file"):
        audit.keys(table, tmp_path)


def test_an_actor_of_two_sessions_is_a_leak():
    table = toy(spk_id="ABBC", session="1122").assign(wav=list("wxyz"), wrd="")
    part = protocols.split(table, table["session"], "1", "none")
    with pytest.raises(UserError, match="share their speaker across train-test: B"):
        audit.refuse("session", audit.leaks("1", audio_less(table), part))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (["train", "train", "valid"], "part test is empty"),
        (["test", "test", "valid"], "part train is empty"),
        (["train", "dev", "test"], "is in no part"),
    ],
)
def test_parts_that_do_not_cover_the_corpus(part, said):
    with pytest.raises(UserError, match=said):
        audit.assert_parts("A", pd.Series(part))


def test_partitions_that_are_none():
    table = toy(spk_id="ABC")
    audit.assert_partition(table, table["spk_id"])
    for folds in (pd.Series(["A", "", "C"]), pd.Series(["A", None, "C"])):
        with pytest.raises(UserError, match="tested in no fold"):
            audit.assert_partition(table, folds)
    with pytest.raises(UserError, match="u1 stands twice"):
        audit.assert_partition(table.assign(ID=["u1", "u0", "u1"]), table["spk_id"])


# ---------------------------------------------------------------- text held out


def spoken(sentences: str, speakers: str = "AB") -> pd.DataFrame:
    """Every speaker says every sentence, a letter each (`-`: none); sorted by ID."""
    rows = [(f"{who}{place}", who, text.strip("-")) for who in speakers for place, text in enumerate(sentences)]
    return pd.DataFrame(rows, columns=["ID", "spk_id", "wrd"]).assign(session="", recording="", style="")


def test_every_third_sentence_is_held_out_worked_by_hand():
    table = spoken("EDCBA-")  # in order: A B C D E; the fold of rank 1 holds B and E
    part = protocols.hold_text(table, protocols.split(table, table["spk_id"], "B", "none"), rank=1)
    assert part.tolist() == [
        *("left out", "train", "train", "left out", "train", "train"),
        *("test", "left out", "left out", "test", "left out", "test"),
    ]


def test_held_text_is_heard_nowhere_else_and_three_folds_test_all(iemocap_table):
    tested = set()
    for rank, fold in enumerate(ACTORS):
        whole = protocols.split(iemocap_table, iemocap_table["spk_id"], fold, "partner")
        part = protocols.hold_text(iemocap_table, whole, rank)
        audit.assert_parts(fold, part)
        texts = {name: set(iemocap_table["wrd"][part == name]) - {""} for name in ("train", "valid", "test")}
        assert texts["test"] and not texts["test"] & (texts["train"] | texts["valid"])
        assert ((part == whole) | (part == "left out")).all()
        tested |= texts["test"] if rank < 3 else set()
        if rank < 3:
            held = sorted(set(iemocap_table["wrd"]) - {""})[rank::3]
            said = set(iemocap_table["wrd"][whole == "test"])
            assert texts["test"] == said & set(held)
    assert len(tested) > len(set(iemocap_table["wrd"])) / 30


def test_too_few_sentences_to_hold_out():
    table = spoken("AB-")
    with pytest.raises(UserError, match="2 different transcripts"):
        protocols.hold_text(table, protocols.split(table, table["spk_id"], "A", "none"), 0)


def test_shared_text_stops_a_protocol_that_holds_it_out():
    table = spoken("ABCDEF")
    part = protocols.hold_text(table, protocols.split(table, table["spk_id"], "A", "none"), 0)
    part.iloc[6] = "train"  # B says A's first sentence
    keys = pd.DataFrame({"speaker": table["spk_id"], "transcript": table["wrd"]}).astype("category")
    found = audit.leaks("A", keys, part)
    audit.refuse("speaker", found)
    with pytest.raises(UserError, match=r"fold A: 1 utterances share their transcript across train-test: A"):
        audit.refuse("speaker", found, text_held=True)


def test_stage_1_holds_text_out_beside_the_protocol(module, workplace, own_table):
    given = ("--corpus", "csv", "--data", own_table, "--protocol", "session", "--hold-text", "true")
    for stage in ("prepare", "folds"):
        done = module(stage, *given)
        assert done.returncode == 0, done.stderr
    folder = workplace / "manifests" / "own" / "session-hold_text"
    assert "left out" in done.stdout and "heard nowhere else" in done.stdout
    for fold in ("s1", "s2"):
        texts = {name: set(pd.read_csv(folder / fold / f"{name}.csv")["wrd"]) for name in ("train", "valid", "test")}
        assert texts["test"] and not texts["test"] & (texts["train"] | texts["valid"])
    assert module("folds", *given[:-2]).returncode == 0  # the plain protocol stands beside it
    assert (workplace / "manifests" / "own" / "session" / "folds.json").exists()


def test_a_fold_whose_speaker_says_no_held_sentence(module, workplace, own_table):
    given = ("--corpus", "csv", "--data", own_table, "--valid", "none", "--hold-text", "true")
    assert module("prepare", *given).returncode == 0
    done = module("folds", *given)
    assert done.returncode == 2
    assert "tests none of the sentences" in done.stderr and "leave out --hold-text" in done.stderr
