"""CREMA-D under the emotion that was asked for and under its raters' votes, with the traps of its repository."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import cremad, cremad_voted

COLUMNS = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 72862\n"


@pytest.fixture
def small(monkeypatch) -> set[str]:
    """A release of three actors, among them those of the broken files, in place of 91."""
    names = {name for name in cremad.NAMES if name[:4] in ("1001", "1064", "1076")}
    monkeypatch.setattr(cremad, "NAMES", names)
    return names


def with_votes(root: Path, votes: dict[str, str]) -> Path:
    """Write the table of votes as the release has it, three rows a clip; `votes` are on the audio, or else 9 for N."""
    lines = [COLUMNS]
    for kind in (1, 2, 3):
        for i, name in enumerate(sorted(cremad.NAMES), start=1):
            counts = votes.get(name, "0,0,0,0,9,0") if kind == 1 else "7,0,0,0,0,0"
            lines.append(f'"{kind}{i:05}",{counts},"{name}",9,1,"N"')
    (root / "processedResults").mkdir()
    (root / "processedResults" / "tabulatedVotes.csv").write_text("\n".join(lines) + "\n")
    return root


def files(names: set[str]) -> list[str]:
    return [f"AudioWAV/{name}.wav" for name in sorted(names)]


def test_the_names_have_the_counts_of_the_release():
    parts = [name.split("_") for name in cremad.NAMES]
    assert len(parts) == 7442
    assert Counter(emotion for _, _, emotion, _ in parts) == {
        **dict.fromkeys(("ANG", "DIS", "FEA", "HAP", "SAD"), 1271),
        "NEU": 1087,
    }
    by_sentence = {"IEO": 1456, "ITS": 545, "TIE": 545, "ITH": 540, "MTI": 540, "WSI": 540}
    assert Counter(sentence for _, sentence, _, _ in parts) == dict.fromkeys(cremad.SENTENCES, 546) | by_sentence
    assert Counter(level for *_, level in parts) == {"XX": 6077, "LO": 455, "MD": 455, "HI": 455}
    assert {actor: n for actor, n in Counter(actor for actor, *_ in parts).items() if n != 82} == {
        **{"1002": 81, "1076": 81, "1008": 76, "1009": 76, "1019": 76}
    }
    assert len(set(cremad.WOMEN)) == 43 and len(cremad.SENTENCES) == 12


def test_the_emotion_that_was_asked_for(tmp_path, small):
    root = with_votes(make_release(tmp_path / "CREMA-D", files(small)), {"1001_DFA_ANG_XX": "3,0,0,0,6,1"})
    corpus = cremad.read(root)
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.name) == (82 + 82 + 80, [], 0, "cremad")
    assert corpus.notes == ["left out, no speech in the release itself: 1 audio file: AudioWAV/1076_MTI_SAD_XX.wav"]
    row = table.loc["1001_DFA_ANG_XX"]
    assert row[["spk_id", "gender", "emo", "wrd"]].tolist() == ["1001", "M", "ang", "DON'T FORGET A JACKET"]
    assert row["votes"] == "ang 3 neu 6 sad 1"
    assert table.loc["1076_IEO_HAP_LO", "gender"] == "F"
    assert set(table.loc[["1076_MTI_NEU_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD"], "votes"]) == {""}


def test_without_the_table_there_are_no_votes_and_no_voted_labels(tmp_path, small):
    root = make_release(tmp_path / "Kaggle", [Path(file).name for file in files(small)])
    corpus = cremad.read(root)
    assert set(corpus.table["votes"]) == {""}
    assert corpus.notes[-1] == "no votes of the raters: no processedResults/tabulatedVotes.csv"
    with pytest.raises(UserError, match=r"has no processedResults/tabulatedVotes.csv") as error:
        cremad_voted.read(root)
    assert "--corpus cremad" in error.value.remedy


def test_the_emotion_that_most_heard(tmp_path, small):
    votes = {"1001_DFA_ANG_XX": "3,0,0,0,6,1", "1001_DFA_DIS_XX": "0,5,0,0,4,0", "1001_DFA_FEA_XX": "0,0,4,0,1,4"}
    root = with_votes(make_release(tmp_path / "CREMA-D", files(small)), votes)
    corpus = cremad_voted.read(root / "AudioWAV")  # the folder within is found its table
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.name) == (244 - 3 - 1, [], 0, "cremad-voted")
    assert table.loc[["1001_DFA_ANG_XX", "1001_DFA_DIS_XX"], "emo"].tolist() == ["neu", "dis"]
    assert "1001_DFA_FEA_XX" not in table.index
    notes = {note.partition(" audio file")[0] for note in corpus.notes}
    assert notes == {
        "left out, a tie of the raters: 1",
        "left out, no speech in the release itself: 1",
        "left out, another file was played to the raters: 3",
    }


def test_a_table_of_votes_with_faults(tmp_path, small):
    root = with_votes(make_release(tmp_path / "CREMA-D", files(small)), {"1001_DFA_ANG_XX": "3,x,0,0,6,1"})
    with pytest.raises(UserError) as error:
        cremad_voted.read(root)
    assert "tabulatedVotes.csv:2: a number of votes is none" in error.value.what
    assert "AudioWAV/1001_DFA_ANG_XX.wav: has no votes on the audio in tabulatedVotes.csv" in error.value.what
    table = root / "processedResults" / "tabulatedVotes.csv"
    table.write_text("\n".join([COLUMNS, '"200001",7,0,0,0,0,0,"1001_DFA_ANG_XX",9,1,"A"']))
    with pytest.raises(UserError, match="no votes on the audio alone"):
        cremad_voted.read(root)


def test_pointers_of_git_lfs_are_named_as_what_they_are(tmp_path, small):
    root = make_release(tmp_path / "CREMA-D", files(small))
    for i, file in enumerate(sorted(root.rglob("*.wav"))):
        if i < 30:
            file.unlink()
            file.write_text(POINTER.format(f"{i:064}"))
    with pytest.raises(UserError) as error:
        cremad.read(root)
    lines = error.value.what.splitlines()
    assert lines[0].endswith("30 faults")
    assert lines[1].endswith(
        "AudioWAV/1001_DFA_ANG_XX.wav: is a Git LFS pointer, not the file itself: `git lfs pull` in the folder of its "
        "repository"
    )
    assert lines[-1] == "  ... and 10 more like these"
    assert len(cremad.read(root, partial=True).table) == 244 - 30
    with_votes(root, {})
    (root / "processedResults" / "tabulatedVotes.csv").write_text(POINTER.format("0" * 64))
    with pytest.raises(UserError, match=r"tabulatedVotes.csv is a Git LFS pointer, not the file itself"):
        cremad_voted.read(root)


def test_a_name_of_older_copies_and_one_that_the_release_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(cremad, "NAMES", {"1040_ITH_SAD_XX", "1040_ITH_FEA_XX"})
    names = ["1040_ITH_SAD_X.wav", "1040_ITH_FEA_XX.wav", "1040_ITH_FEA_HI.wav"]
    root = make_release(tmp_path / "cremad", names)
    with pytest.raises(UserError, match=r"1040_ITH_FEA_HI.wav: is not named like 1001_DFA_ANG_XX.wav"):
        cremad.read(root)
    assert set(cremad.read(root, partial=True).table["ID"]) == {"1040_ITH_SAD_XX", "1040_ITH_FEA_XX"}


@pytest.mark.slow
def test_a_whole_release(tmp_path):
    corpus = cremad.read(make_release(tmp_path / "CREMA-D", files(cremad.NAMES)))
    assert (len(corpus.table), corpus.faults, corpus.rejected) == (7441, [], 0)
    assert corpus.table.groupby("spk_id")["gender"].first().value_counts().to_dict() == {"M": 48, "F": 43}
