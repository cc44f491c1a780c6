"""A user's own table and its audio files, and each way in which they can be broken."""

import csv
import os
import textwrap
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.audio.header import examine
from local.core.errors import UserError
from local.corpora.csv_table import read
from local.corpora.faults import SHOWN, Fault, raise_faults
from local.corpora.manifest import COLUMNS, resolve
from local.corpora.manifest import read as read_manifest
from local.corpora.manifest import write as write_manifest

FOUR = """\
wav,emo
a.wav,hap
b.wav,hap
c.wav,sad
d.wav,sad
"""


@pytest.fixture
def folder(tmp_path):
    """Four WAV files of 0.1, 0.2, 0.3, 0.4 s, and room for a table beside them."""
    for number, name in enumerate("abcd", start=1):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(1600 * number), 16_000)
    return tmp_path


def table(folder, text, name="own.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def faults(path, **given):
    """The fault lines that `read` refuses the table with, which are those that a partial reading reports."""
    with pytest.raises(UserError) as refusal:
        read(path, **given)
    heading, *lines = refusal.value.what.splitlines()
    assert heading.startswith(f"corpus own: {len(lines)} fault")
    try:
        can_go_on = len(read(path, partial=True, **given).table) > 0
    except UserError:
        can_go_on = False
    assert ("--partial true" in refusal.value.remedy) == can_go_on
    return [line.strip() for line in lines]


def test_the_two_columns_suffice(folder):
    corpus = read(table(folder, FOUR))
    assert (corpus.name, corpus.root, corpus.faults) == ("own", folder.resolve(), [])
    assert tuple(corpus.table.columns) == COLUMNS
    assert corpus.table["ID"].tolist() == ["a", "b", "c", "d"]
    assert corpus.table["wav"].tolist() == [f"$data_root/{name}.wav" for name in "abcd"]
    assert corpus.table["duration"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert corpus.table["emo"].tolist() == ["hap", "hap", "sad", "sad"]
    assert (corpus.table[["spk_id", "gender", "session", "recording", "style", "wrd"]] == "").all(axis=None)


def test_all_columns_and_unused_ones(folder):
    rows = [
        "age,style,gender,recording,session,spk_id,wrd,ID,emo,wav,mood",
        '31,impro,Female,show-1.a,Ses 1,ann,"Well, it\'s\n{LG} fine",one,anger-2,a.wav,x',
        "31,script,M,show-1.b,s2,Zoë_1,źródłem 24,two,anger-2,b.wav,x",
        "31,,f,,,,,three,ok,c.wav,x",
        "31,,MALE,,,,,four,ok,d.wav,x",
    ]
    path = table(folder, "\n".join(rows).replace("Ses 1", "s1"))
    corpus = read(path)
    first, second = corpus.table.to_dict("records")[:2]
    assert first == {
        "ID": "one",
        "duration": 0.1,
        "wav": "$data_root/a.wav",
        "spk_id": "ann",
        "gender": "F",
        "session": "s1",
        "recording": "show-1.a",
        "style": "impro",
        "emo": "anger-2",
        "wrd": "WELL IT'S FINE",
    }
    assert (second["wrd"], second["spk_id"], second["gender"]) == ("ŹRÓDŁEM 24", "Zoë_1", "M")
    assert corpus.table["gender"].tolist() == ["F", "M", "F", "M"]
    assert corpus.source == "own table own.csv (columns not used: age, mood)"


def test_the_table_survives_being_written_and_read(folder):
    corpus = read(table(folder, FOUR))
    write_manifest(folder / "all.csv", corpus.table)
    again = read_manifest(folder / "all.csv")
    assert again.equals(corpus.table)
    assert [soundfile.info(path).duration for path in resolve(again["wav"], corpus.root)] == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("suffix", "subtype", "rates"),
    [
        ("wav", "PCM_16", (8_000, 16_000, 24_000, 44_100, 48_000)),
        ("wav", "PCM_24", (44_100,)),
        ("wav", "FLOAT", (48_000,)),
        ("flac", "PCM_24", (8_000, 16_000, 24_000, 44_100, 48_000)),
        ("ogg", "VORBIS", (8_000, 16_000, 24_000, 44_100, 48_000)),
    ],
)
def test_formats_rates_and_channels(tmp_path, suffix, subtype, rates):
    rng = np.random.default_rng(0)
    wavs, expected = [], []
    for rate in rates:
        for channels in (1, 2):
            frames = int(rng.integers(rate // 10, rate))
            wavs.append(f"{rate}-{channels}.{suffix}")
            expected.append(round(frames / rate, 6))
            samples = 0.1 * rng.standard_normal((frames, channels))
            soundfile.write(tmp_path / wavs[-1], samples, rate, subtype=subtype)
            header = examine(tmp_path / wavs[-1])
            assert (header.frames, header.rate, header.channels) == (frames, rate, channels)
    # Each file twice, by a link of another name, for two emotions of two utterances or more.
    for wav in list(wavs):
        os.link(tmp_path / wav, tmp_path / f"sad-{wav}")
        wavs.append(f"sad-{wav}")
    text = "wav,emo\n" + "".join(f"{wav},{'sad' if wav.startswith('sad') else 'hap'}\n" for wav in wavs)
    assert read(table(tmp_path, text)).table["duration"].tolist() == expected * 2


@pytest.mark.parametrize("make", [str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
def test_spreadsheet_habits(folder, make):
    """Byte order mark, CR-LF, quotes, blanks after commas, empty rows at the end; against Python's own csv.writer."""
    text = 'wav, emo, wrd\n"a.wav",hap,"so, ""yes"""\nb.wav , hap,\n\nc.wav,sad,two\nd.wav, sad, "a, b"\n,,\n'
    corpus = read(table(folder, make(text)))
    assert corpus.table["wrd"].tolist() == ["SO YES", "", "TWO", "A B"]


def test_every_text_that_python_writes_is_read(folder):
    path = folder / "own.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["wav", "wrd", "emo"])
        for wav, wrd, emo in zip("abcd", ['x "y" z', "l1\nl2", "c,d\r\ne", "'"], ["p", "p", "q", "q"], strict=True):
            out.writerow([f"{wav}.wav", wrd, emo])
    assert read(path).table["wrd"].tolist() == ["X Y Z", "L1 L2", "C D E", ""]


def test_paths_absolute_above_and_below(tmp_path):
    tables, below, above = tmp_path / "deep" / "tables", tmp_path / "deep" / "tables" / "x" / "y", tmp_path / "audio"
    for place in (below, above):
        place.mkdir(parents=True)
        for name in ("1.wav", "2.flac"):
            soundfile.write(place / name, np.zeros(160), 16_000)
    text = f"wav,emo\nx/y/1.wav,hap\n./x/../x/y/2.flac,hap\n../../audio/1.wav,sad\n{above}/2.flac,sad\n"
    corpus = read(table(tables, text))
    assert corpus.table["wav"].tolist() == [
        "$data_root/x/y/1.wav",
        "$data_root/x/y/2.flac",
        "$data_root/../../audio/1.wav",
        "$data_root/../../audio/2.flac",
    ]
    assert corpus.table["ID"].tolist() == ["x-y-1", "x-y-2", "audio-1", "audio-2"]
    assert all(map(os.path.isfile, resolve(corpus.table["wav"], corpus.root)))


def test_paths_through_a_linked_folder(tmp_path, folder):
    """`..` leads from where a link points, not from where the link is."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    link = tmp_path / "far" / "away" / "link"
    link.symlink_to(folder)
    text = "".join(f"{folder}/{name}.wav,{emo}\n" for name, emo in zip("abcd", "pqpq", strict=True))
    table(folder, "wav,emo\n" + text)
    corpus = read(link / "own.csv")
    assert all(map(os.path.isfile, resolve(corpus.table["wav"], corpus.root)))


def test_a_relative_table_has_an_absolute_root(folder, monkeypatch):
    table(folder, FOUR)
    monkeypatch.chdir(folder)
    assert read(Path("own.csv")).root == folder.resolve()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (",ang", "wav is empty"),
        ("e.wav,", "emo is empty"),
        ("none.wav,hap", "'none.wav': No such file or directory"),
        ("sub,hap", "'sub': Is a directory"),
        ("own.csv,hap", "'own.csv': not audio that libsndfile reads (Format not recognised.)"),
        ("x.raw,hap", "'x.raw': not audio that libsndfile reads (it has no header)"),
        ("empty.wav,hap", "'empty.wav': holds no samples"),
        ("short.flac,hap", "'short.flac': is cut short"),
        ("e.wav,h&p", "emo 'h&p' has characters other than letters, digits, _ and -"),
        ("e.wav,../up", "emo '../up' has characters other than letters, digits, _ and -"),
        ('"e\n.wav",hap', "wav 'e\\n.wav' has a control character"),
        ("none.wav,hap,one,two", "4 fields where the header has 2"),
        ("none.wav", "1 fields where the header has 2"),
        ('"e"x.wav,hap', "wrong quotation marks (',' expected after '\"')"),
        ('"none.wav,hap', "wrong quotation marks (unexpected end of data)"),
        ("b.wav,sad", "ID 'b' is in line 3 already"),
        ("./b.wav,sad", "ID 'b' is in line 3 already"),
    ],
)
def test_a_fault_names_its_line(folder, row, fault):
    (folder / "sub").mkdir()
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    noise = np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(folder / "short.flac", noise, 16_000)
    whole = (folder / "short.flac").read_bytes()
    (folder / "short.flac").write_bytes(whole[: len(whole) * 9 // 10])
    (folder / "x.raw").write_bytes(bytes(320))
    soundfile.write(folder / "e.wav", np.zeros(160), 16_000)
    path = table(folder, FOUR + row + "\n")
    found = faults(path)
    assert found[0] == f"own.csv:6: {fault}"
    partial = read(path, partial=True)
    assert [str(fault) for fault in partial.faults if fault.line] == found
    assert partial.table["ID"].tolist() == ["a", "b", "c", "d"]


FOLDER_NAMES = "give up to 63 letters, digits, _ . and -, of which . and - do not come first"


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("ID", "a\tb", "ID 'a\\tb' has a control character"),
        ("spk_id", "../ann", f"spk_id '../ann' cannot name a folder: {FOLDER_NAMES}"),
        ("session", "-1", f"session '-1' cannot name a folder: {FOLDER_NAMES}"),
        ("recording", "show 1", f"recording 'show 1' cannot name a folder: {FOLDER_NAMES}"),
        ("gender", "woman", "gender 'woman' is none of f, female, m, male"),
        ("style", "acted", "style 'acted' is neither impro nor script"),
        ("valence", "1_0", "valence '1_0' is no number"),
        ("valence", '"1,5"', "valence '1,5' is no number: write it with a point"),
        ("votes", "sad 1_0", "votes: 'sad 1_0' is not how many raters chose each label, as 'ang 3 neu 2'"),
    ],
)
def test_faults_of_optional_columns(folder, column, value, fault):
    path = table(folder, f"wav,emo,{column}\na.wav,hap,\nb.wav,hap,\nc.wav,sad,\nd.wav,sad,{value}\n")
    assert faults(path)[0] == f"own.csv:5: {fault}"


def test_duplicates(folder):
    path = table(folder, "wav,emo,ID\na.wav,hap,x\nb.wav,hap,y\nc.wav,sad,x\nb.wav,sad,z\nd.wav,sad,\n")
    assert faults(path)[:2] == ["own.csv:4: ID 'x' is in line 2 already", "own.csv:5: wav 'b.wav' is in line 3 already"]
    soundfile.write(folder / "a.flac", np.zeros(160), 16_000)
    assert faults(table(folder, FOUR + "a.flac,sad\n")) == ["own.csv:6: ID 'a' is in line 2 already"]


def test_the_remedy_is_of_the_faults(folder):
    def remedy(content: str | bytes) -> str:
        with pytest.raises(UserError) as refusal:
            read(table(folder, content))
        return refusal.value.remedy

    parts = "start,end,wav,emo\n0,1,a.wav,hap\n1,2,a.wav,hap\n0,1,b.wav,sad\n1,2,b.wav,sad\n"
    assert "cut those of a longer recording out, each into a file of its own" in remedy(parts)
    assert "iconv -f WINDOWS-1252 -t UTF-8" in remedy(b"wav,emo,wrd\na.wav,hap,caf\xe9\nb.wav,hap,\n")
    assert not {"cut", "iconv"} & {*remedy("wav,emo\na.wav,hap\nb.wav,h&p\n").split()}


def test_all_faults_in_one_go_by_physical_line(folder):
    text = b'wav,emo,wrd\na.wav,hap,"two\nlines"\ne.wav,ha&p,\n\nb.wav,hap,caf\xe9\nb.wav,hap,\0\n'
    text += b"c.wav,sad,ok,no\nd.wav,sad,\n"
    lines = faults(table(folder, text))
    assert [line for line in lines if not line.startswith("own.csv:7: ")] == [
        "own.csv:6: byte '0xE9' is not UTF-8 text",
        "own.csv:8: 4 fields where the header has 3",
        "own.csv:4: emo 'ha&p' has characters other than letters, digits, _ and -",
        "own.csv:4: 'e.wav': No such file or directory",
        "own.csv:2: no other utterance that can be used has the emotion 'hap'",
        "own.csv:9: no other utterance that can be used has the emotion 'sad'",
    ]
    # The csv module of Python 3.10 refuses a zero byte itself, in its own words.
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "the header lacks wav and lacks emo (it is empty)"),
        (b"file;emo\na;b\n", "the header lacks wav (it has file, emo)"),
        (b"wav,ID\na.wav,a\n", "the header lacks emo (it has wav, ID)"),
        (b"wav,emo,emo\n", "the header repeats emo (it has wav, emo, emo)"),
        (FOUR.encode("utf-16"), "byte '0xFF' is not UTF-8"),
        (b"wav,emo\n", "no utterance that can be used"),
        (b"wav,emo\n,,\n\n", "no utterance that can be used"),
        (b"wav,emo\na.wav,hap\nb.wav,hap\n", "only one emotion, 'hap', that can be used"),
    ],
)
def test_tables_that_cannot_be_used(folder, text, what):
    with pytest.raises(UserError) as refusal:
        read(table(folder, text))
    assert what in refusal.value.what


STRAY = """\
wav,emo,spk_id,wrd
a.wav,hap,1,well
b.wav,hap,1,"he said
c.wav,sad,2,come here
d.wav,sad,2,{}
e.wav,hap,3,one
f.wav,hap,3,two
g.wav,sad,4,one
h.wav,sad,4,two
"""


@pytest.mark.parametrize(
    ("text", "last", "used"),
    [
        (STRAY.format('and so on"'), 5, "aefgh"),  # closed at the end of another row
        (STRAY.format('he said "no" twice'), 5, "aefgh"),  # or within it, which is an error of CSV
        (STRAY.format('"so, yes"'), 5, "aefgh"),
        (STRAY.format("ok").replace("g.wav,sad,4,one\nh.wav,sad,4,two\n", ""), 7, ""),  # or never
    ],
)
def test_rows_inside_an_unmatched_quotation_mark_are_all_counted(folder, text, last, used):
    for name in "efgh":
        soundfile.write(folder / f"{name}.wav", np.zeros(160), 16_000)
    path = table(folder, text)
    lines = [f"own.csv:3: unmatched quotation mark: its field runs from line 3 to line {last}"]
    lines += [f"own.csv:{n}: is inside the quotation marks that open in line 3" for n in range(4, last + 1)]
    assert faults(path)[: last - 2] == lines
    if used:
        corpus = read(path, partial=True)
        assert "".join(corpus.table["ID"]) == used and corpus.rejected == last - 2


def test_rows_inside_an_unmatched_quotation_mark_of_the_header(folder):
    with pytest.raises(UserError, match=r"own.csv:1: unmatched quotation mark: its field runs from line 1 to line 3"):
        read(table(folder, 'wav,emo,"wrd\na.wav,hap,one\nb.wav,hap,two"\nc.wav,sad,three\nd.wav,sad,four\n'))


def test_a_text_of_several_lines_swallows_no_row(folder):
    text = 'wav,emo,wrd\na.wav,hap,"so,\nyes, no, or. maybe\n\nc.wav"\nb.wav,hap,\nc.wav,sad,\nd.wav,sad,\n'
    assert read(table(folder, text)).table["wrd"][0] == "SO YES NO OR MAYBE C WAV"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\n", '"sep={}"\r\n'])
def test_separators_of_spreadsheets(folder, separator, first):
    text = 'wav,emo,wrd\na.wav,hap,one\nb.wav,hap,"one, two"\nc.wav,sad,"x;y"\nd.wav,sad,"x|y"\n'
    rows = list(csv.reader(text.splitlines()))
    quoted = "".join(separator.join(f'"{field}"' for field in row) + "\n" for row in rows)
    corpus = read(table(folder, "\ufeff" + first.format(separator) + quoted))
    assert corpus.table["wrd"].tolist() == ["ONE", "ONE TWO", "X Y", "X Y"]
    line = 2 if first else 1
    with pytest.raises(UserError, match=rf"own.csv:{line}: the header lacks emo \(it has wav, mood, wrd\)"):
        read(table(folder, first.format(separator) + quoted.replace("emo", "mood")))


def test_columns_in_another_case_are_read(folder):
    text = "WAV,Emo,SPK_ID,id,Mood\na.wav,h,x,1,\nb.wav,h,x,2,\nc.wav,s,y,3,\nd.wav,s,y,4,\n"
    corpus = read(table(folder, text))
    assert corpus.table["ID"].tolist() == ["1", "2", "3", "4"] and corpus.table["spk_id"].tolist() == [
        "x",
        "x",
        "y",
        "y",
    ]
    assert corpus.source == "own table own.csv (columns not used: Mood)" and corpus.warnings == []


def test_columns_of_other_names_are_named_beside_ours(folder):
    with pytest.raises(UserError) as refusal:
        read(table(folder, FOUR.replace("wav,emo", "Path,emotion")))
    assert "the header lacks wav and lacks emo (it has Path, emotion)" in refusal.value.what
    assert refusal.value.remedy == 'say what they are called: --columns "wav=Path emo=emotion"'
    text = FOUR.replace("\n", ",x,1\n").replace("emo,x,1", "emo,Speaker ID,sex").replace("x,1", "x,f")
    assert read(table(folder, text)).warnings == [
        "not used: columns 'Speaker ID' (the spk_id?), 'sex' (the gender?); to use what you mean: "
        "--columns \"spk_id='Speaker ID' gender=sex\""
    ]
    corpus = read(table(folder, text), columns={"spk_id": "Speaker ID", "gender": "sex"})
    assert corpus.warnings == [] and corpus.table["spk_id"].tolist() == ["x"] * 4


def test_columns_are_named_by_the_user(folder):
    path = table(folder, "ID;clip;Emotion\n7;a.wav;h\n7;b.wav;h\n7;c.wav;s\n7;d.wav;s\n")
    assert "own.csv:3: ID '7' is in line 2 already" in faults(path, columns={"wav": "clip", "emo": "emotion"})
    table(folder, "wav;clip;Emotion\n7;a.wav;h\n7;b.wav;h\n7;c.wav;s\n7;d.wav;s\n")
    corpus = read(path, columns={"wav": "clip", "emo": "Emotion"})
    assert corpus.table["ID"].tolist() == list("abcd") and corpus.source == "own table own.csv"
    table(folder, "ID;clip;Emotion\n7;a.wav;h\n")
    with pytest.raises(UserError) as refusal:
        read(path, columns={"wav": "clips", "emo": "Emotion"})
    assert (
        "own.csv:1: --columns says wav=clips, and there is no column 'clips' (ID, clip, Emotion)" in refusal.value.what
    )
    assert refusal.value.remedy == '--columns "wav=clip emo=Emotion"'
    with pytest.raises(UserError) as refusal:
        read(path, columns={"wav": "clip"})
    assert refusal.value.remedy == 'say what they are called: --columns "wav=clip emo=Emotion"'


@pytest.mark.parametrize(
    ("column", "other"),
    [
        *product(["spk_id", "session", "recording"], ["1", "001", "\uff10\uff11", "\u0661", "0\u0967"]),
        *product(["spk_id", "session", "recording"], ["1.0", "1."]),
    ],
)
def test_a_number_is_one_name_however_it_is_written(folder, column, other):
    columns = {"emo": "x", "spk_id": "s", "session": "t", "recording": "u"}
    rows = [columns | {column: value} for value in ("01", other, "2", "2")]
    header = ",".join(("wav", *columns))
    text = "".join(f"{name}.wav,{','.join(row.values())}\n" for name, row in zip("abcd", rows, strict=True))
    assert f"own.csv:3: {column} '{other}' is '01' of line 2 in another spelling" in faults(
        table(folder, f"{header}\n{text}")
    )


def test_numbers_within_names_and_of_files_are_different_names(folder):
    text = "wav,emo,ID,spk_id\na.wav,hap,1,s1\nb.wav,hap,01,s01\nc.wav,sad,1.0,10\nd.wav,sad,001,100\n"
    assert read(table(folder, text)).table["spk_id"].tolist() == ["s1", "s01", "10", "100"]


def test_labels_and_names_of_scripts_with_combining_marks(folder):
    joy, anger, ann = "\u0916\u0941\u0936\u0940", "\u0917\u0941\u0938\u094d\u0938\u093e", "\u0906\u0928\u0902\u0926"
    persian = "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645"  # with a zero-width non-joiner
    rows = [(joy, ann), (joy, persian), (anger, "Zoe\u0308"), (anger, "Zo\u00eb")]
    text = "".join(f"{name}.wav,{emo},{who}\n" for name, (emo, who) in zip("abcd", rows, strict=True))
    corpus = read(table(folder, "wav,emo,spk_id\n" + text))
    assert corpus.table["emo"].tolist() == [joy, joy, anger, anger]
    assert corpus.table["spk_id"].tolist() == [ann, persian, "Zo\u00eb", "Zo\u00eb"]
    lines = faults(table(folder, f"wav,emo\na.wav,{joy}\nb.wav,{joy}\nc.wav,\u0941x\nd.wav,x\ufe0f\n"))
    assert [line for line in lines if "has characters other than letters" in line] == lines[:2]


def test_words_for_missing_values_are_kept_with_a_warning(folder):
    text = "wav,emo,wrd,spk_id\na.wav,nan,None,NA\nb.wav,nan,n/a,NA\nc.wav,sad,none of it,null\nd.wav,sad,,Nan Li\n"
    corpus = read(table(folder, text.replace("Nan Li", "Nan.Li")))
    assert corpus.table["emo"].tolist() == ["nan", "nan", "sad", "sad"]
    assert corpus.table["spk_id"].tolist() == ["NA", "NA", "null", "Nan.Li"]
    assert corpus.warnings == [
        "emo 'nan' (2 utterances) looks like a missing value; if it is one, remove the row, or leave the "
        "cell empty for --extra-training all-turns",
        "wrd 'None' (1 utterance) looks like a missing value; if it is one, leave the cell empty",
        "wrd 'n/a' (1 utterance) looks like a missing value; if it is one, leave the cell empty",
        "spk_id 'NA' (2 utterances) looks like a missing value; if it is one, leave the cell empty",
        "spk_id 'null' (1 utterance) looks like a missing value; if it is one, leave the cell empty",
    ]
    assert read(table(folder, FOUR)).warnings == []


def test_an_emotion_that_is_a_word_for_a_missing_value_is_none_that_would_be_lost(folder):
    path = table(folder, "ID,wav,emo\n1,a.wav,hap\n2,b.wav,hap\n3,c.wav,sad\n4,d.wav,sad\n5,e.wav,NaN\n")
    soundfile.write(folder / "e.wav", np.zeros(1600), 16_000)
    with pytest.raises(UserError) as refused:
        read(path)
    assert "emo 'NaN' looks like a missing value" in refused.value.what
    assert refused.value.remedy == (
        "fix them (where no emotion is known: remove the row, or leave the cell empty for --extra-training all-turns), "
        "or go on without them: --partial true"
    )


def test_a_file_is_found_in_another_unicode_form(folder):
    (folder / "fro\u0308h").mkdir()
    (folder / "a.wav").rename(folder / "fro\u0308h" / "wu\u0308tend.wav")
    (folder / "b.wav").rename(folder / "w\u00fctend.wav")
    text = FOUR.replace("a.wav", "fr\u00f6h/w\u00fctend.wav").replace("b.wav", "wu\u0308tend.wav")
    corpus = read(table(folder, text))
    assert corpus.table["wav"].tolist()[:2] == [
        "$data_root/fro\u0308h/wu\u0308tend.wav",
        "$data_root/w\u00fctend.wav",
    ]
    assert corpus.table["ID"].tolist()[:2] == ["fr\u00f6h-w\u00fctend", "w\u00fctend"]
    assert all(map(os.path.isfile, resolve(corpus.table["wav"], corpus.root)))


def test_a_file_of_another_case_is_named(folder):
    (folder / "Sub").mkdir()
    (folder / "d.wav").rename(folder / "Sub" / "d.WAV")
    found = faults(table(folder, FOUR.replace("a.wav", "A.wav").replace("d.wav", "sub/d.wav")))
    assert found[:2] == [
        "own.csv:2: 'A.wav': No such file or directory, but there is 'a.wav': only the case differs",
        "own.csv:5: 'sub/d.wav': No such file or directory, but there is 'Sub/d.WAV': only the case differs",
    ]


def test_backslashes_of_windows(folder):
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "a.wav").rename(folder / "x" / "y" / "a.wav")
    (folder / "b.wav").rename(folder / "z\\b.wav")  # a name that has one
    text = FOUR.replace("a.wav", "x\\y\\a.wav").replace("b.wav", "z\\b.wav")
    corpus = read(table(folder, text))
    assert corpus.table["wav"].tolist()[:2] == ["$data_root/x/y/a.wav", "$data_root/z\\b.wav"]
    assert corpus.table["ID"].tolist()[0] == "x-y-a"
    assert faults(table(folder, text.replace("d.wav", "C:\\data\\d.wav")))[0].endswith(
        "No such file or directory (a path of Windows: give one relative to the table)"
    )


def test_an_emotion_with_one_utterance(folder):
    soundfile.write(folder / "e.wav", np.zeros(160), 16_000)
    path = table(folder, FOUR + "e.wav,awe\n")
    assert faults(path) == ["own.csv:6: no other utterance that can be used has the emotion 'awe'"]
    assert read(path, partial=True).table["ID"].tolist() == ["a", "b", "c", "d"]
    with pytest.raises(UserError, match="no utterance"):
        read(table(folder, "wav,emo\na.wav,hap\nb.wav,sad\n"), partial=True)


def test_names_and_places(folder):
    for name in ("mini.csv", "IEMOCAP.csv", "nemo.csv", "csv.csv", "my table.csv", "-x.csv", ".csv"):
        with pytest.raises(UserError, match="cannot be the name"):
            read(table(folder, FOUR, name))
    assert read(table(folder, FOUR, "my-2.table_x.csv")).name == "my-2.table_x"
    for absent in (None, folder / "absent.csv", folder):
        with pytest.raises(UserError) as refusal:
            read(absent)
        assert "--data" in refusal.value.remedy


def test_pointers_of_git_lfs(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "5a" * 32 + "\nsize 1234\n"
    with pytest.raises(UserError, match=r"own.csv is a Git LFS pointer, not the file itself") as refusal:
        read(table(folder, pointer))
    assert "git lfs pull" in refusal.value.remedy
    (folder / "a.wav").write_text(pointer)
    assert "'a.wav': is a Git LFS pointer, not the file itself" in "\n".join(faults(table(folder, FOUR)))


def test_rows_without_an_emotion_are_faults_or_extra(folder):
    path = table(folder, "wav,emo,wrd\na.wav,hap,one\nb.wav,hap,\nc.wav,sad,\nd.wav,sad,\ne.wav,,five\n")
    soundfile.write(folder / "e.wav", np.zeros(1600), 16_000)
    with pytest.raises(UserError, match=r"own\.csv:6: emo is empty") as refusal:
        read(path)
    assert refusal.value.remedy.startswith(
        "fix them (utterances without an emotion may train what needs none: --extra-training all-turns), or go on"
    )
    corpus = read(path, unlabelled=True)
    assert corpus.table["ID"].tolist() == ["a", "b", "c", "d"] and corpus.faults == []
    assert corpus.extra[["ID", "emo", "wrd"]].values.tolist() == [["e", "", "FIVE"]]
    assert read(path, partial=True).extra is None
    # A partial table is the same with and without them, and so are its faults.
    soundfile.write(folder / "f.wav", np.zeros(1600), 16_000)
    partly = table(folder, path.read_text() + "f.wav,,six\n,,seven\nabsent.wav,,\nabsent.wav,hap,\n", "partly.csv")
    plain, more = (read(partly, partial=True, unlabelled=unlabelled) for unlabelled in (False, True))
    assert (plain.faults, plain.rejected) == (more.faults, more.rejected) and plain.table.equals(more.table)
    assert len(plain.faults) == 8 and more.extra["ID"].tolist() == ["e", "f"]
    with pytest.raises(UserError, match=r"own\.csv:7: wav is empty"):
        read(table(folder, path.read_text() + ",,six\n"), unlabelled=True)


def test_many_faults_of_a_kind_are_shortened():
    lines = [Fault("t.csv", n, f"{n}", f"'{n}.wav': No such file or directory") for n in range(1, SHOWN + 6)]
    with pytest.raises(UserError) as refusal:
        raise_faults("own", [*lines, Fault("t.csv", 99, "", "emo is empty")], partial=False)
    assert refusal.value.what.splitlines() == [
        f"corpus own: {SHOWN + 6} faults",
        *(f"  {line}" for line in lines[:SHOWN]),
        "  ... and 5 more like these",
        "  t.csv:99: emo is empty",
    ]
    raise_faults("own", lines, partial=True)
    raise_faults("own", [], partial=False)


def test_examine_a_streamed_flac(tmp_path):
    """A FLAC written to a pipe leaves its 36-bit count of samples, from bit 172 of the file on, at zero."""
    path = tmp_path / "stream.flac"
    soundfile.write(path, np.zeros(16_000), 16_000)
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[21:26], "big") & (2**36 - 1) == 16_000
    content[21:26] = (int.from_bytes(content[21:26], "big") & ~(2**36 - 1)).to_bytes(5, "big")
    path.write_bytes(content)
    with pytest.raises(OSError, match="does not give its length"):
        examine(path)


LISTED = """\
wav,emo,Split
a.wav,hap,Train
b.wav,hap,
c.wav,sad,DEV
d.wav,sad,evaluation
"""


def test_official_lists_are_read_in_any_spelling(folder):
    corpus = read(table(folder, LISTED))
    assert tuple(corpus.table.columns) == (*COLUMNS, "split")
    assert corpus.table["split"].tolist() == ["train", "", "valid", "test"]
    assert corpus.notes == [
        "split 'DEV' (1 row) is read as valid",
        "split 'Train' (1 row) is read as train",
        "split 'evaluation' (1 row) is read as test",
    ]
    write_manifest(folder / "all.csv", corpus.table)
    assert read_manifest(folder / "all.csv")["split"].tolist() == ["train", "", "valid", "test"]
    none = read(table(folder, "wav,emo,split\na.wav,hap,\nb.wav,hap,\nc.wav,sad,\nd.wav,sad,\n"))
    assert tuple(none.table.columns) == COLUMNS and none.source == "own table own.csv"


def test_words_that_are_no_list_are_named(folder):
    path = table(folder, LISTED.replace("hap,\n", "hap,trian\n").replace("DEV", "fold_1"))
    known = "none of train, valid, test, test1, test2, ..."
    assert [fault for fault in faults(path) if "split" in fault] == [
        f"own.csv:3: split 'trian' is {known} (did you mean 'train'?)",
        f"own.csv:4: split 'fold_1' is {known}",
    ]
    with pytest.raises(UserError, match=r"'evaluation' \(1 rows?\) beside 'test2'"):
        read(table(folder, LISTED.replace("DEV", "test2")))


def test_lists_under_another_name_are_named(folder):
    corpus = read(table(folder, LISTED.replace("Split", "partition")))
    assert corpus.renamed == {"partition": "split"} and tuple(corpus.table.columns) == COLUMNS
    assert corpus.warnings == [
        "not used: column 'partition' (the split?); to use what you mean: --columns \"split=partition\""
    ]
