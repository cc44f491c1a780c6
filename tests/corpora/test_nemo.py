"""nEMO: a release as its owners ship it, and ways in which a copy of it can be broken."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from paths import SHARED

from local.core.errors import UserError
from local.corpora import module
from local.corpora.manifest import COLUMNS, resolve
from local.corpora.nemo import read

RELEASE = SHARED / "data" / "nemo4"
HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


@pytest.fixture(scope="module")
def release():
    """The four emotions of nEMO that lie beside the repository, read once."""
    if not (RELEASE / "data.tsv").is_file():
        pytest.skip("nEMO is not there: ../shared/data/nemo4 beside the repository")
    return read(RELEASE)


def test_release_against_its_table(release):
    rows = pd.read_csv(RELEASE / "data.tsv", sep="\t", quoting=3)
    rows = rows.assign(ID=rows["file_id"].str[:-4], emo=rows["emotion"].str[:3]).sort_values("ID", ignore_index=True)
    table = release.table.sort_values("ID", ignore_index=True)
    assert (release.name, release.root, release.faults) == ("nemo", RELEASE.resolve(), [])
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3076
    assert table["ID"].equals(rows["ID"]) and table["ID"].is_unique
    assert table["emo"].equals(rows["emo"])
    assert table["spk_id"].equals(rows["speaker_id"])
    assert table["gender"].equals(rows["gender"].str[0].str.upper())
    assert (table[["session", "recording", "style"]] == "").all(axis=None)
    assert (table["wav"] == "$data_root/samples/" + rows["file_id"]).all()


def test_release_counts(release):
    table = release.table
    assert table["emo"].value_counts().to_dict() == {"neu": 809, "sad": 769, "hap": 749, "ang": 749}
    speakers = table["spk_id"].value_counts().to_dict()
    assert speakers == {s: 360 for s in ("EB0", "KD0", "KS0", "MK0", "TP0", "IC0")} | {
        "WR0": 359,
        "SM0": 359,
        "MP0": 198,
    }
    assert table.groupby("spk_id")["gender"].nunique().eq(1).all()
    assert table["wrd"].nunique() == 90
    # The name of each file says the same as the columns do.
    parts = table["ID"].str.split("_", expand=True)
    assert parts[0].equals(table["spk_id"]) and parts[1].str[:3].equals(table["emo"])


def test_release_text_is_polish_letters_and_blanks(release):
    assert set("".join(release.table["wrd"])) == set("AĄBCĆDEĘFGHIJKLŁMNŃOÓPRSŚTUWYZŹŻ ")
    assert "RÓD SMOKA TO SERIAL TELEWIZYJNY" in set(release.table["wrd"])


def test_release_durations_are_those_of_the_samples(release):
    assert release.table["duration"].sum() / 3600 == pytest.approx(2.1, abs=0.05)
    some = release.table.sample(40, random_state=0)
    for path, duration in zip(resolve(some["wav"], release.root), some["duration"], strict=True):
        samples, rate = soundfile.read(path)
        assert duration == round(len(samples) / rate, 6)


def make(folder, rows, header=HEADER):
    """Write rows of data.tsv, and a WAV file at 24 kHz for each file_id that begins with a capital."""
    (folder / "samples").mkdir()
    (folder / "data.tsv").write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    for row in rows:
        file_id = row.split("\t")[0]
        if file_id[:1].isupper():
            soundfile.write(folder / "samples" / file_id, np.zeros(12_000), 24_000)
    return folder


def test_original_layout(tmp_path):
    """WAV at 24 kHz, six emotions, padded speaker_id, a quote that nothing closes."""
    emotions = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
    rows = [f'EB0_{emotion}_1.wav\t{emotion}\t"Źle.\t"źle\t        EB0\tfemale\t27' for emotion in emotions]
    corpus = read(make(tmp_path, rows))
    assert corpus.table["emo"].tolist() == ["ang", "fea", "hap", "neu", "sad", "sur"]
    assert corpus.table["ID"].tolist() == [f"EB0_{emotion}_1" for emotion in emotions]
    assert set(corpus.table["spk_id"]) == {"EB0"}
    assert set(corpus.table["wrd"]) == {"ŹLE"}
    assert set(corpus.table["duration"]) == {0.5}
    assert corpus.table["wav"][0] == "$data_root/samples/EB0_anger_1.wav" and corpus.notes == []
    for other in ("._EB0_fear_1.wav", "EB0_fear_2.wav", "README.md"):
        (tmp_path / "samples" / other).write_bytes(b"")
    assert read(tmp_path).notes == ["left out, in no readable row of data.tsv: 1 audio file: samples/EB0_fear_2.wav"]


def test_every_fault_in_one_go(tmp_path):
    rows = [
        "A_anger_1.wav\tanger\tTak.\ttak\tA\tfemale\t30",
        "a_absent.wav\tanger\tTak.\ttak\tA\tfemale\t30",
        "text.wav\tneutral\tTak.\ttak\tA\tfemale\t30",
        "empty.wav\tneutral\tTak.\ttak\tA\tfemale\t30",
        "A_boredom.wav\tboredom\tTak.\ttak\tA\tfemale\t30",
        "A_anger_1.wav\tanger\tNie.\tnie\tA\tfemale\t30",
        "A_short.wav\tanger\tTak.\ttak\tA\tfemale",
        "",
        "A_other.wav\tanger\tTak.\ttak\t  \tother\t30",
        "\tanger\tTak.\ttak\tA\tmale\t30",
        "B_sadness_1.flac\tsadness\tNie.\tnie\tB\tmale\t31",
    ]
    make(tmp_path, rows)
    (tmp_path / "samples" / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "samples" / "empty.wav", np.zeros(0), 24_000)
    faults = [
        "data.tsv:8: 6 fields where the header has 7",
        "data.tsv:3: 'samples/a_absent.wav': No such file or directory",
        "data.tsv:4: 'samples/text.wav': not audio that libsndfile reads (Format not recognised.)",
        "data.tsv:5: 'samples/empty.wav': holds no samples",
        "data.tsv:6: emotion 'boredom' is none of anger, fear, happiness, neutral, sadness, surprised",
        "data.tsv:7: ID 'A_anger_1' is in line 2 already",
        "data.tsv:10: speaker_id is empty",
        "data.tsv:10: gender 'other' is neither female nor male",
        "data.tsv:11: file_id is empty",
    ]
    with pytest.raises(UserError) as refusal:
        read(tmp_path)
    assert refusal.value.what.splitlines() == ["corpus nemo: 9 faults", *(f"  {fault}" for fault in faults)]
    assert "without the emotion 'neu': --partial true" in refusal.value.remedy
    corpus = read(tmp_path, partial=True)
    lost = "data.tsv: the emotion 'neu' is left out as a whole: none of its 2 rows can be used"
    assert [str(fault) for fault in corpus.faults] == [lost, *faults]
    assert corpus.rejected == 8
    assert corpus.table["ID"].tolist() == ["A_anger_1", "B_sadness_1"]


def test_a_byte_that_is_not_utf8(tmp_path):
    make(tmp_path, ["A_1.wav\tanger\tTak.\ttak\tA\tfemale\t30"])
    with open(tmp_path / "data.tsv", "ab") as file:
        file.write("B_1.wav\tanger\tŹle.\tźle\tB\tmale\t31\n".encode("cp1250"))
    with pytest.raises(UserError, match=r"data.tsv:3: byte '0x8F' is not UTF-8 text"):
        read(tmp_path)


def test_folders_that_are_not_nemo(tmp_path):
    for data in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError) as refusal:
            read(data)
        assert "--data" in refusal.value.remedy
    make(tmp_path, [], header=HEADER.replace("speaker_id", "speaker"))
    with pytest.raises(UserError, match=r"data.tsv:1: the header lacks speaker_id"):
        read(tmp_path)
    (tmp_path / "data.tsv").write_text(HEADER)
    with pytest.raises(UserError, match="no utterance"):
        read(tmp_path, partial=True)


def test_it_is_imported_by_its_name():
    assert module("nemo").read is read
