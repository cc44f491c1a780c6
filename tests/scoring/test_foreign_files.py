"""Files of predictions as people write them: names of columns, separators, posteriors, folds, transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.core.errors import UserError
from local.scoring import foreign_files
from local.scoring.foreign_files import NO_LABEL, as_ours, read


def written(folder: Path, text: str, name: str = "p.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "key", "label", "text"),
    [
        ("ID,emo,emo_hyp,p_a,wrd,wrd_hyp", "ID", "emo_hyp", "wrd_hyp"),  # as ours: emo and wrd are references
        ("wav,label,prediction", "wav", "prediction", ""),  # label is the reference, perhaps
        ("File Name,Emotion,p_a,transcript", "File Name", "Emotion", "transcript"),  # as of local.predict
        ("path,text,label", "path", "label", "text"),
        ("id,file,pred", "id", "pred", ""),
        ("wav,p_a", "wav", "", ""),
        ("WAV,P_A", "WAV", "", ""),
    ],
)
def test_the_column_of_each_is_found(tmp_path, header, key, label, text):
    files = read([written(tmp_path, header + "\n")], [])
    assert (files.taken["key"], files.taken["label"], files.taken["text"]) == (key, label, text)
    assert files.by_id == (key.lower() == "id") and files.rows == []


@pytest.mark.parametrize(
    ("header", "said"), [("emo_hyp,p_a", "no column ID or wav"), ("wav,emo", "no column of predicted"), ("", "empty")]
)
def test_a_header_without_what_is_needed_is_refused(tmp_path, header, said):
    with pytest.raises(UserError) as error:
        read([written(tmp_path, header + "\n")], [])
    assert said in error.value.what


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_rows_are_read_with_any_separator(tmp_path, separator):
    lines = "wav pred p_x p_y error", "a.wav x 0.9 0.1 -", "b.wav    long"
    first, second = read([written(tmp_path, "\n".join(lines).replace(" ", separator))], []).rows
    assert (first.key, first.line, first.label, first.posteriors) == ("a.wav", 2, "x", {"x": 0.9, "y": 0.1})
    assert (second.label, second.posteriors, second.reason) == ("", {}, "long")


def test_without_a_label_the_likeliest_posterior_is_taken(tmp_path):
    rows = read([written(tmp_path, "ID,p_x,p_y\n1,0.2,0.8\n2,,\n3,1,0\n")], []).rows
    assert [(row.label, row.reason) for row in rows] == [("y", ""), ("", NO_LABEL), ("x", "")]
    rows = read([written(tmp_path, "ID,emo_hyp,p_x,p_y\n1,,0.2,0.8\n2,x,0.2,0.8\n3,,,\n")], []).rows
    assert [(row.label, row.reason) for row in rows] == [("y", ""), ("x", ""), ("", NO_LABEL)]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("-1.2,3.4", "not between 0 and 1: give probabilities"),
        ("0.9,0.9", "add up to 1.800"),
        ("0.9,", "p_y '' is not a number"),
        ("nan,1", "not between 0 and 1"),
    ],
)
def test_what_is_no_posterior_is_named(tmp_path, cells, said):
    files = read([written(tmp_path, f"ID,pred,p_x,p_y\n1,x,0.5,0.5\n2,x,{cells}\n")], [])
    (fault,) = files.wrong
    assert said in fault.reason and fault.line == 3


def test_posteriors_may_be_rounded_to_two_digits(tmp_path):
    rows = "1,0.33,0.33,0.33", "2,0.34,0.34,0.33", "3,0.33,0.33,0.32", "4,0.34,0.34,0.34"
    files = read([written(tmp_path, "\n".join(["ID,p_x,p_y,p_z", *rows]))], [])
    assert [fault.ID for fault in files.wrong] == ["3", "4"]


def test_broken_rows_are_kept_apart(tmp_path):
    files = read([written(tmp_path, "ID,pred\n1,x\n2,x,y\n")], [])
    assert [row.key for row in files.rows] == ["1"] and "3 fields" in str(files.broken[0])


def test_files_may_be_named_after_folds(tmp_path):
    text = "ID,pred\n{},x\n"
    here = [written(tmp_path, text.format(1), "A.csv"), written(tmp_path / "B", text.format(2), "predictions.csv")]
    assert [row.fold for row in read(here, ["A", "B"]).rows] == ["A", "B"]
    rest = written(tmp_path, text.format(3), "rest.csv")
    assert [row.fold for row in read([*here, rest], ["A", "B"]).rows] == [""] * 3
    own = written(tmp_path, "ID,pred,Fold\n1,x,B\n", "A.csv")
    assert [row.fold for row in read([own], ["A", "B"]).rows] == ["B"]  # a column comes first


def test_files_of_other_columns_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"b\.csv has other columns than .*a\.csv: ID, label, not ID, pred, text"):
        read([written(tmp_path, "ID,pred,text\n", "a.csv"), written(tmp_path, "ID,label\n", "b.csv")], [])


def test_a_transcript_becomes_one_of_ours_and_one_of_a_ctc_head_stays():
    assert as_ours("Don\u2019t [laughs] go - now!") == "DON'T GO NOW"
    for own in ("IT'S ' ME", "' '", "", "ŹRÓDŁEM"):
        assert as_ours(own) == own
    assert foreign_files.as_ours("it's ' me") == "IT'S ME"


def test_columns_that_the_user_names_go_first(tmp_path):
    path = written(tmp_path, "ID,wav,emo_hyp,Guess,heard\n1,a.wav,x,y,well\n")
    (row,) = read([path], [], {"emo_hyp": "guess", "wrd_hyp": "heard"}).rows
    assert (row.key, row.label, row.text) == ("1", "y", "WELL")
    files = read([path], [], {"wav": "wav"})
    assert (files.rows[0].key, files.by_id) == ("a.wav", False)
    assert read([path], [], {"ID": "wav"}).by_id
    files = read([written(tmp_path, "utt,emo_hyp\n1,x\n")], [], {"ID": "utt"})
    assert (files.rows[0].key, files.by_id) == ("1", True)
    with pytest.raises(UserError, match="there is no column 'gess'"):
        read([path], [], {"emo_hyp": "gess"})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_named_as_such(tmp_path, encoding):
    (tmp_path / "p.csv").write_bytes("ID,emo_hyp\n1,x\n".encode(encoding))
    with pytest.raises(UserError, match="the file is in UTF-16") as error:
        read([tmp_path / "p.csv"], [])
    assert "iconv -f UTF-16 -t UTF-8" in error.value.remedy


def test_bytes_of_another_encoding(tmp_path):
    (tmp_path / "p.csv").write_bytes("ID,emo_hyp,Äußerung\n1,x,y\n".encode("cp1252"))
    with pytest.raises(UserError, match="'0xC4' is not UTF-8 text") as error:
        read([tmp_path / "p.csv"], [])
    assert "iconv -f WINDOWS-1252" in error.value.remedy
    (tmp_path / "p.csv").write_bytes("ID,emo_hyp\n1,x\n2,Ärger\n".encode("cp1252"))
    files = read([tmp_path / "p.csv"], [])
    assert len(files.rows) == 1 and "'0xC4' is not UTF-8 text" in files.broken[0].reason
