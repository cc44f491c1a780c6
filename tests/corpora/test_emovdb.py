"""EmoV-DB: the forms of its names, who speaks, and sentences outside the range in their own name."""

from __future__ import annotations

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.emovdb import read

ARCHIVES = {
    "bea": ("Amused", "Angry", "Disgusted", "Neutral", "Sleepy"),
    "jenie": ("Amused", "Angry", "Disgusted", "Neutral", "Sleepy"),
    "josh": ("Amused", "Neutral", "Sleepy"),
    "sam": ("Amused", "Angry", "Disgusted", "Neutral", "Sleepy"),
}
WORDS = {"Amused": "amused", "Angry": "anger", "Disgusted": "disgust", "Neutral": "neutral", "Sleepy": "sleepiness"}
CODES = {"Amused": "amu", "Angry": "ang", "Disgusted": "dis", "Neutral": "neu", "Sleepy": "sle"}


def files(between: str = "_", words: dict[str, str] = WORDS) -> list[str]:
    """Two files of each of the 18 archives; `between` speaker and emotion: `bea_Angry` or `bea/Angry`."""
    return [
        f"{speaker}{between}{emotion}/{words[emotion]}_1-28_{sentence:04}.wav"
        for speaker, emotions in ARCHIVES.items()
        for emotion in emotions
        for sentence in (1, 28)
    ]


def write_texts(root) -> None:
    """Write sentences as cmuarctic.data has them, of both of its sets."""
    lines = [f'( arctic_{letter}{n:04} "Sentence {letter} {n}, etc." )' for letter in "ab" for n in range(1, 540)]
    (root / "cmuarctic.data").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("between", "words"),
    [("_", WORDS), ("/", WORDS), ("/", {word: word.lower() for word in WORDS})],
    ids=["archives", "folders in folders", "other words"],
)
def test_layouts_of_copies(tmp_path, between, words):
    root = make_release(tmp_path / "emov", files(between, words))
    write_texts(root)
    corpus = read(root)
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.warnings, corpus.notes) == (36, [], 0, [], [])
    assert table["emo"].value_counts().to_dict() == {"amu": 8, "neu": 8, "sle": 8, "ang": 6, "dis": 6}
    assert table.groupby("spk_id")["gender"].first().to_dict() == {"bea": "F", "jenie": "F", "josh": "M", "sam": "M"}
    assert table.loc[f"sam_{words['Angry']}_1-28_0028", ["spk_id", "emo", "wrd"]].tolist() == [
        *("sam", "ang", "SENTENCE A 28 ETC"),
    ]


def test_names_without_a_speaker(tmp_path):
    """Archives that were unpacked into one folder: the files of one speaker have overwritten those of another."""
    with pytest.raises(UserError) as error:
        read(make_release(tmp_path / "emov", ["wavs/anger_1-28_0001.wav", "wavs/amused_1-15_0001.wav"]))
    assert error.value.what.count("no folder above it says who speaks (bea, jenie, josh, sam)") == 2
    assert "tar -xf bea_Angry.tar.gz -C bea_Angry" in error.value.what
    root = make_release(tmp_path / "other", ["wavs/bea_anger_1-28_0001.wav"])  # renamed by somebody
    assert read(root, partial=True).table[["ID", "spk_id"]].values.tolist() == [["bea_anger_1-28_0001", "bea"]]


def test_archives_that_are_missing_and_labels_that_contradict(tmp_path):
    names = [file for file in files() if not file.startswith("sam_Sleepy")]
    root = make_release(tmp_path / "emov", [*names, "bea_Sleepy/anger_1-28_0003.wav", "bea_Angry/x.wav"])
    write_texts(root)
    with pytest.raises(UserError) as error:
        read(root)
    assert [line.strip() for line in error.value.what.splitlines()[1:]] == [
        "no file of sam, sleepiness: archive sam_Sleepy.tar.gz",
        "bea_Angry/x.wav: is not named like anger_1-28_0011.wav: emotion, range of sentences, sentence",
        "bea_Sleepy/anger_1-28_0003.wav: its folder says sleepy, its name anger",
    ]
    assert len(read(root, partial=True).table) == 34


def test_sentences_outside_the_range_in_their_name(tmp_path):
    """Names of the real release."""
    strange = [
        "bea/Neutral/neutral_113-140_0014.wav",  # of 0114
        "josh/Amused/amused_225_252_0026.wav",  # of 0226; an underscore in the range
        "josh/Neutral/neutral_169-196_0033.wav",
        "sam/Amused/amused_367-392_0365.wav",
        "jenie/Angry/anger_505-532_0532.wav",
    ]
    root = make_release(tmp_path / "emov", [*files("/"), *strange])
    write_texts(root)
    corpus = read(root)
    words = corpus.table.set_index("ID")["wrd"]
    assert words["bea_neutral_113-140_0014"] == "SENTENCE A 114 ETC"
    assert words["josh_amused_225_252_0026"] == "SENTENCE A 226 ETC"
    assert words["josh_neutral_169-196_0033"] == "SENTENCE A 33 ETC"
    assert words["sam_amused_367-392_0365"] == "SENTENCE A 365 ETC"
    assert corpus.notes == [
        "sentences outside the range in their own name, read with the digits lost: 2 "
        "(bea_neutral_113-140_0014 as 0114, josh_amused_225_252_0026 as 0226)"
    ]
    assert corpus.warnings == [
        "sentences outside the range in their own name, taken as they are: 2 "
        "(josh_neutral_169-196_0033, sam_amused_367-392_0365)"
    ]


def test_transcripts_that_are_not_there(tmp_path):
    root = make_release(tmp_path / "emov", files())
    (warning,) = read(root).warnings
    assert warning == (
        "no transcripts: put cmuarctic.data into the folder, from http://www.festvox.org/cmu_arctic/cmuarctic.data"
    )
    (root / "cmuarctic.data").write_text("<html>not found</html>")
    with pytest.raises(UserError, match="has no line like"):
        read(root)
    (root / "cmuarctic.data").write_text('( arctic_a0001 "One." )\n')
    (warning,) = read(root).warnings
    assert warning.startswith("no transcript in cmuarctic.data: 18 (bea_amused_1-28_0028, ")
