"""Corpora broken in one way each, as a user's stages 0 to 2 meet them: refused with file, line and reason, all faults
in one go and nothing written; or, with `--partial true`, left out, listed in rejected.csv and counted.

Releases of IEMOCAP's shape are broken in `broken_releases`, which tests/corpora/test_iemocap_release.py shares.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from broken_releases import BROKEN, F000
from hand_made_runs import predict
from iemocap_tree import SMALL_FACTS, small_release, wav_bytes

from local import audio_store, folds, prepare
from local.core.errors import UserError
from local.corpora import csv_table, iemocap, manifest, nemo, unsound
from local.data import store
from local.experiment.command_line import parse
from local.pages.results import untested_label_notes
from local.score import score
from local.splits import checks

ALL = Path("manifests/own/all.csv")
REJECTED = Path("manifests/own/rejected.csv")
WAV = "wav/10A0.wav"  # of line 2 of own.csv, by speaker 1A, angry; 10A1 in line 3 is happy, 10B0 in line 4 sad


@pytest.fixture
def ran(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a module's `main` as `python -m` does: its exit code, what it says and what it complains of."""

    def run(module, words: list[str], *more: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["main", *words, *more])
        code = 0
        try:
            module.main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return run


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    return ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n"]


def rejected(path: Path = REJECTED) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- your own table


Breaker = Callable[[Path], object]


def edit(old: str, new: str, encoding: str = "utf-8") -> Breaker:
    """Change the table in one place."""

    def apply(folder: Path) -> None:
        text = (folder / "own.csv").read_text()
        assert text.count(old) == 1
        (folder / "own.csv").write_bytes(text.replace(old, new).encode(encoding))

    return apply


def everywhere(*changes: str) -> Breaker:
    """Change every occurrence of each text in the table; as Python writes it, its lines end in CR-LF."""

    def apply(folder: Path) -> None:
        text = (folder / "own.csv").read_bytes().decode()
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        (folder / "own.csv").write_bytes(text.encode())

    return apply


def put(content: bytes, at: str = WAV) -> Breaker:
    return lambda folder: (folder / at).write_bytes(content)


def link(target: str, at: str = WAV) -> Breaker:
    return lambda folder: ((folder / at).unlink(), (folder / at).symlink_to(target))


def audio(suffix: str, keep: float = 1.0, rate: int = 16_000) -> Breaker:
    """Give the first row noise in another format, of which only a share of the bytes is there."""

    def apply(folder: Path) -> None:
        path = folder / "wav" / f"x.{suffix}"
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), rate)
        os.truncate(path, int(path.stat().st_size * keep))
        edit(WAV, f"wav/x.{suffix}")(folder)

    return apply


def of(*breakers: Breaker) -> Breaker:
    return lambda folder: [breaker(folder) for breaker in breakers]


ROW = f"10A0,{WAV},ang,well then,1A,s1,10"
NO_AUDIO = "not audio that libsndfile reads"
LIE = wav_bytes()[:40] + struct.pack("<I", 9999) + wav_bytes()[44:]
TABLES: dict[str, tuple[Breaker, str]] = {
    # Audio.
    "no file": (lambda folder: (folder / WAV).unlink(), f"2: '{WAV}': No such file or directory"),
    "0 bytes": (put(b""), f"2: '{WAV}': not audio, the file is empty"),
    "header without samples": (put(wav_bytes(0)), f"2: '{WAV}': holds no samples"),
    "header cut": (put(wav_bytes()[:30]), f"2: '{WAV}': {NO_AUDIO} (Error in WAV file. No 'data' chunk marker.)"),
    "wav cut": (put(wav_bytes()[:2000]), f"2: '{WAV}': is cut short: its header promises 3244 bytes, it has 2000"),
    "header promises more": (put(LIE), f"2: '{WAV}': is cut short: its header promises 10043 bytes, it has 3244"),
    "flac cut": (audio("flac", 0.5), "2: 'wav/x.flac': is cut short"),
    "mp3 cut": (audio("mp3", 0.5), "2: 'wav/x.mp3': is cut short"),
    "rate that no recording has": (audio("wav", rate=16_001), "2: 'wav/x.wav': its sample rate of 16001 Hz cannot be"),
    "rate of 10 Hz": (audio("wav", rate=10), "2: 'wav/x.wav': its sample rate of 10 Hz cannot be converted to 16000"),
    "text for audio": (put(b"no audio, " * 99), f"2: '{WAV}': {NO_AUDIO} (Format not recognised.)"),
    "folder for audio": (edit(WAV, "wav"), "2: 'wav': Is a directory"),
    "pipe for audio": (
        lambda folder: ((folder / WAV).unlink(), os.mkfifo(folder / WAV)),
        f"2: '{WAV}': is no file but a pipe or a device",
    ),
    "device for audio": (edit(WAV, "/dev/zero"), "/dev/zero': is no file but a pipe or a device"),
    "samples without a header": (
        of(edit(WAV, "wav/x.raw"), put(bytes(320), "wav/x.raw")),
        f"2: 'wav/x.raw': {NO_AUDIO} (it has no header)",
    ),
    "link to itself": (link("10A0.wav"), f"2: '{WAV}': Too many levels of symbolic links"),
    "links in a ring": (
        of(link("10A1.wav"), link("10A0.wav", "wav/10A1.wav")),
        "3: 'wav/10A1.wav': Too many levels of symbolic links",
    ),
    "link to nothing": (link("gone.wav"), f"2: '{WAV}': No such file or directory"),
    "name too long": (edit(WAV, f"wav/{'x' * 300}.wav"), "2: 'wav/xxx"),
    # Names that occur twice, or that are one to a disk that ignores case.
    "ID twice": (edit("10A1,wav", "10A0,wav"), "3: ID '10A0' is in line 2 already"),
    "file twice": (edit("wav/10A1.wav", WAV), f"3: wav '{WAV}' is in line 2 already"),
    "file twice by two paths": (edit("wav/10A1.wav", f"./wav/../{WAV}"), f"3: wav '{WAV}' is in line 2 already"),
    "ID of another case": (edit("10A1,wav", "10a0,wav"), "3: ID '10a0' is '10A0' of line 2 in another spelling"),
    "file of another case": (
        of(lambda folder: shutil.copy(folder / WAV, folder / "wav/10a0.WAV"), edit("wav/10A1.wav", "wav/10a0.WAV")),
        f"3: wav 'wav/10a0.WAV' is '{WAV}' of line 2 in another spelling",
    ),
    "speaker in wide letters": (
        edit("10A1,wav/10A1.wav,hap,not at all,1A", "10A1,wav/10A1.wav,hap,not at all,1\uff21"),
        "3: spk_id '1\uff21' is '1A' of line 2 in another spelling",
    ),
    "speaker of another case": (
        edit("10A1,wav/10A1.wav,hap,not at all,1A", "10A1,wav/10A1.wav,hap,not at all,1a"),
        "3: spk_id '1a' is '1A' of line 2 in another spelling",
    ),
    "accents composed and not": (
        of(edit("10A0,wav", "Zo\u00eb,wav"), edit("10A1,wav", "Zoe\u0308,wav")),
        "3: ID 'Zo\u00eb' is in line 2 already",
    ),
    # Fields.
    "no file given": (edit(f"10A0,{WAV}", "10A0,"), "2: wav is empty"),
    "no emotion": (edit(f"{WAV},ang", f"{WAV},"), "2: emo is empty"),
    "emotion with a sign": (edit(f"{WAV},ang", f"{WAV},ang/sad"), "2: emo 'ang/sad' has characters other"),
    "emotion almost of another's name": (
        edit(f"{WAV},ang", f"{WAV},angy"),
        "2: emo 'angy' (1 row): did you mean 'ang' (15 rows)?",
    ),
    "emotion of one utterance": (
        edit(f"{WAV},ang", f"{WAV},awe"),
        "2: no other utterance that can be used has the emotion 'awe'",
    ),
    "control character in ID": (edit("10A0,wav", "10\tA0,wav"), "2: ID '10\\tA0' has a control character"),
    "newline in a path": (edit(WAV, '"wav/10A0\n.wav"'), "2: wav 'wav/10A0\\n.wav' has a control character"),
    "speaker that leads elsewhere": (
        edit("well then,1A,s1,10\n10A1", "x,../1A,s1,10\n10A1"),
        "2: spk_id '../1A' cannot",
    ),
    "speaker of 64 letters": (edit(ROW, ROW.replace("1A,s1", f"{'x' * 64},s1")), "2: spk_id 'xxxx"),
    "speaker named as a table": (edit(ROW, ROW.replace("1A,s1", "Leaks.csv,s1")), "2: spk_id 'Leaks.csv' cannot name"),
    "session of two words": (edit(ROW, ROW.replace("s1", "s 1")), "2: session 's 1' cannot name a folder"),
    # Records.
    "field too many": (edit(ROW, ROW + ",x"), "2: 8 fields where the header has 7"),
    "field too few": (edit(ROW, ROW.removesuffix(",10")), "2: 6 fields where the header has 7"),
    "quote never closed": (
        edit("well then,1A,s1,10\n10A1", '"well then,1A,s1,10\n10A1'),
        "2: unmatched quotation mark",
    ),
    "quote closed too soon": (edit("10A0,wav", '"10"A0,wav'), "2: wrong quotation marks (',' expected"),
    "not UTF-8": (edit("well then,1A,s1,10\n10A1", "café,1A,s1,10\n10A1", "latin-1"), "2: byte '0xE9' is not UTF-8"),
    "column missing": (edit("emo,wrd", "mood,wrd"), "1: the header lacks emo (it has ID, wav, mood"),
    "columns missing": (edit("wav,emo", "file,mood"), "1: the header lacks wav and lacks emo"),
    "column twice": (edit("emo,wrd", "emo,emo"), "1: the header repeats emo"),
    "semicolons in the header": (
        edit("ID,wav,emo,wrd,spk_id", "ID;wav;emo;wrd;spk_id"),
        "2: 1 fields where",
    ),
    "UTF-16": (edit("ID,", "ID,", "utf-16"), "the header of the table cannot be read: own.csv:1: byte '0xFF'"),
    "a workbook of Excel": (put(b"PK\x03\x04\x14\0wav,emo\n", "own.csv"), "own.csv is no text but a workbook of Excel"),
    "empty table": (put(b"", "own.csv"), "1: the header lacks wav and lacks emo (it is empty)"),
    "header only": (put(b"wav,emo\n", "own.csv"), "has no utterance that can be used"),
    "one emotion": (everywhere(",hap,", ",ang,", ",sad,", ",ang,"), "has only one emotion, 'ang',"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_broken_table_is_refused_by_stage_0(kind, words, own_table, ran):
    breaker, reason = TABLES[kind]
    breaker(own_table.parent)
    code, printed, errors = ran(prepare, words)
    assert code == 2 and printed == "" and not Path("manifests").exists()
    assert f"own.csv:{reason}" in errors if reason[0].isdigit() else reason in errors
    assert errors.startswith("error: ") and "\n  try: " in errors


SOUND: dict[str, Breaker] = {
    "LF": everywhere("\r\n", "\n"),
    "CR": everywhere("\r\n", "\r"),
    "byte order mark": edit("ID,wav", "\ufeffID,wav"),
    "empty rows": edit(ROW + "\n", f"\n{ROW}\n,,,,,,\n"),
    "blanks around fields": edit(ROW, ROW.replace(",", " , ")),
    "quotes": edit(ROW, ",".join(f'"{field}"' for field in ROW.split(","))),
    "newline in a transcript": edit("ang,well then,1A,s1,10\n10A1", 'ang,"well\nthen",1A,s1,10\n10A1'),
    "noise in a transcript": edit("ang,well then,1A,s1,10\n10A1", 'ang,"Well, {LG} then",1A,s1,10\n10A1'),
    "path with dots": edit(WAV, f"./wav/.././{WAV}"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_harmless_habit_changes_nothing(kind, own_table):
    clean = csv_table.read(own_table).table
    SOUND[kind](own_table.parent)
    assert csv_table.read(own_table).table.equals(clean)


def test_an_extra_column_is_named_and_not_used(own_table):
    clean = csv_table.read(own_table).table
    own_table.write_text("".join(f"{line},x{n}\n" for n, line in enumerate(own_table.read_text().splitlines())))
    corpus = csv_table.read(own_table)
    assert corpus.table.equals(clean) and corpus.source.endswith("(columns not used: x0)")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *product(["my own corpus", "Żółw и 龜", "a;b & $(c) 'd'", "-x"], ["relative", "absolute", "outside", "linked"]),
        ("a\nb", "relative"),  # elsewhere the newline would be in the table, and refused
    ],
)
def test_files_may_lie_in_any_folder_of_any_name(tmp_path, own_table, name, how, workplace, words, ran):
    """All stages that read audio come through: the table is in one such folder and the audio in another."""
    tables, audio_folder = tmp_path / name, tmp_path / f"{name} audio"
    tables.mkdir()
    shutil.move(own_table.parent / "wav", audio_folder)
    if how == "relative":
        shutil.move(audio_folder, tables / "wav")
    elif how == "linked":
        (tables / "wav").symlink_to(audio_folder)
    place = {"absolute": str(audio_folder), "outside": f"../{name} audio"}.get(how, "wav")
    rows = list(csv.reader(own_table.read_text().splitlines()))
    with open(tables / "own.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([name, wav.replace("wav/", f"{place}/"), *more] for name, wav, *more in rows)
    words[3] = str(tables / "own.csv")
    for module in (prepare, folds, audio_store):
        assert ran(module, words)[0] == 0, module.__name__
    assert len(manifest.read(ALL)) == 48


@pytest.mark.parametrize("data", ["gone.csv", ".", "mini.csv", "my table.csv", "ring.csv", "pipe.csv"])
def test_what_cannot_be_the_table_is_refused(data, words, own_table, ran):
    folder = own_table.parent
    for name in ("mini.csv", "my table.csv"):
        shutil.copy(own_table, folder / name)
    (folder / "ring.csv").symlink_to("ring.csv")
    os.mkfifo(folder / "pipe.csv")
    words[3] = str(folder / data)
    code, _, errors = ran(prepare, words)
    assert code == 2 and words[3] in errors and not Path("manifests").exists()


def test_ten_faults_of_ten_kinds_are_named_in_one_message(words, own_table, ran):
    folder, lines = own_table.parent, own_table.read_text().splitlines()
    put(b"", "wav/10A0.wav")(folder)
    put(wav_bytes()[:2000], "wav/10A1.wav")(folder)
    (folder / "wav" / "10B0.wav").unlink()
    put(b"text", "wav/10B1.wav")(folder)
    link("11A0.wav", "wav/11A0.wav")(folder)
    lines[6] = lines[6].replace("11A1,", "11a0,")
    lines[7] = lines[7].replace(",1B,", ",1b,")
    lines[8] = lines[8].replace(",hap,", ",h p,")
    lines[9] += ",more"
    lines[10] = lines[10].replace("12A1,", "10A0,")
    own_table.write_text("\n".join(lines))
    code, _, errors = ran(prepare, words)
    lines_of_faults = [line.strip() for line in errors.splitlines()[1:-1]]
    assert code == 2 and errors.startswith("error: corpus own: 10 faults\n") and len(lines_of_faults) == 10
    assert sorted(line.split(": ")[0] for line in lines_of_faults) == sorted(
        f"own.csv:{number}" for number in range(2, 12)
    )


# ---------------------------------------------------------------- a release like IEMOCAP


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_release_is_refused_by_stage_0_or_read_in_part(kind, tmp_path, workplace, monkeypatch, ran):
    """The facts are those of a small release; counts that differ from them are faults, too."""
    monkeypatch.setattr(iemocap, "FACTS", SMALL_FACTS)
    root = small_release(tmp_path)
    breaker, reasons, lost = BROKEN[kind]
    breaker(root)
    words = ["--corpus", "iemocap", "--data", str(root)]
    code, printed, errors = ran(prepare, words)
    assert code == 2 and printed == "" and not Path("manifests").exists()
    assert all(f"  {reason}\n" in errors for reason in reasons)

    code, printed, errors = ran(prepare, words, "--partial", "true")
    assert code == 0 and errors == "" and re.search(rf"\b{len(lost)} utterances? rejected", printed)
    rows = rejected(Path("manifests/iemocap/rejected.csv"))
    places = [f"{row['file']}{':' if row['line'] else ''}{row['line']}: {row['reason']}" for row in rows]
    assert [place for place in places if not place.endswith(" expected")] == reasons
    assert {row["ID"] for row in rows if row["ID"]} >= (lost if kind.startswith("wav ") else set())


# ---------------------------------------------------------------- what may not be read


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Be somebody who may not read everything, which root may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody can reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("forbidden", "reason"),
    [
        ("own.csv", "own.csv cannot be read: Permission denied"),
        (WAV, f"own.csv:2: '{WAV}': Permission denied"),
        ("wav", f"own.csv:2: '{WAV}': Permission denied"),
        (".", "there is no table"),
    ],
)
def test_a_table_that_may_not_be_read(own_table, public, forbidden, reason):
    shutil.copytree(own_table.parent, public / "data")
    os.chmod(public / "data" / forbidden, 0)
    with nobody(), pytest.raises(UserError) as refusal:
        csv_table.read(public / "data" / "own.csv")
    os.chmod(public / "data" / forbidden, 0o700)
    assert reason in refusal.value.what


@pytest.mark.parametrize(
    ("forbidden", "reason"),
    [
        ("Session3/dialog/EmoEvaluation/Ses03F_impro01.txt", ": text file cannot be read (Permission denied)"),
        ("Session3/sentences/wav", ": folder is missing or cannot be read (Permission denied)"),
        (f"Session3/sentences/wav/Ses03F_impro01/{F000}.wav", ": Permission denied"),
        ("Session3", "/dialog/EmoEvaluation: folder is missing or cannot be read (Permission denied)"),
    ],
)
def test_a_release_that_may_not_be_read(public, forbidden, reason):
    root = small_release(public)
    os.chmod(root / forbidden, 0)
    with nobody(), pytest.raises(UserError) as refusal:
        iemocap.read_release(root, SMALL_FACTS, partial=False)
    os.chmod(root / forbidden, 0o700)
    assert f"  {forbidden}{reason}" in refusal.value.what.splitlines()


@pytest.mark.parametrize("read", [iemocap.read, nemo.read])
def test_a_folder_that_may_not_be_entered(public, read):
    (public / "data").mkdir(mode=0)
    with nobody(), pytest.raises(UserError) as refusal:
        read(public / "data" / "below")
    assert str(public / "data" / "below") in refusal.value.what


# ---------------------------------------------------------------- what only the samples show


def noise(path: Path, *odd: float) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    samples[100 : 100 + len(odd)] = odd
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def spoil(path: Path) -> None:
    """Overwrite frames in the middle of a FLAC."""
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000, format="FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(400) + content[len(content) // 2 + 400 :])


SAMPLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a number": (lambda path: noise(path, np.nan), "holds samples that are not finite"),
    "infinite": (lambda path: noise(path, 0.5, -np.inf), "holds samples that are not finite"),
    "all zero": (lambda path: soundfile.write(path, np.zeros(16_000), 16_000), "is silent: all samples are zero"),
    "all zero in two channels": (
        lambda path: soundfile.write(path, np.zeros((16_000, 2)), 16_000, subtype="FLOAT"),
        "is silent: all samples are zero",
    ),
    "frames that cannot be decoded": (spoil, "cannot be decoded"),
    "gone since stage 0": (lambda path: path.unlink(), "No such file or directory"),
    "cut since stage 0": (
        lambda path: os.truncate(path, 99),
        "is cut short: its header promises 4044 bytes, ",
    ),
}
AFTER_STAGE_0 = ("gone since stage 0", "cut since stage 0")


@pytest.mark.parametrize("kind", SAMPLES)
def test_unsound_samples_are_refused_before_training_and_then_left_out(kind, words, own_table, ran):
    spoiler, reason = SAMPLES[kind]
    if kind not in AFTER_STAGE_0:
        spoiler(own_table.parent / WAV)
    assert ran(prepare, words)[0] == 0
    if kind in AFTER_STAGE_0:
        spoiler(own_table.parent / WAV)
    for _ in range(2):  # when the store is made, and when it is there
        code, _, errors = ran(audio_store, words)
        assert code == 2 and f"corpus own: 1 fault\n  {WAV}: {reason}" in errors and "--partial true" in errors
        with pytest.raises(UserError, match=WAV):
            store.is_built(*parse(words).audio())
    assert ran(prepare, words)[0] == 2  # now stage 0 knows
    assert ran(prepare, words, "--partial", "true", "--force", "true")[0] == 0
    assert ran(folds, words, "--partial", "true", "--force", "true")[0] == 0
    assert ran(audio_store, words)[0] == 0 and store.is_built(*parse(words).audio())
    assert "10A0" not in set(manifest.read(ALL)["ID"]) and len(manifest.read(ALL)) == 47
    row = rejected()[0]
    if kind in AFTER_STAGE_0:  # stage 0 finds these by itself, and tells the line
        assert (row["file"], row["line"]) == ("own.csv", "2")
    else:
        assert (row["file"], row["line"], row["ID"]) == (WAV, "", "10A0") and reason in row["reason"]


def test_all_unsound_samples_are_named_in_one_message(words, own_table, ran):
    paths = sorted((own_table.parent / "wav").iterdir())[:5]
    for path, (spoiler, _) in zip(paths, SAMPLES.values(), strict=False):
        spoiler(path)
    assert ran(prepare, words)[0] == 0
    code, _, errors = ran(audio_store, words)
    assert code == 2 and "corpus own: 5 faults\n" in errors
    for path, (_, reason) in zip(paths, SAMPLES.values(), strict=False):
        assert f"  wav/{path.name}: {reason}" in errors


def test_what_is_mended_is_taken_in_again(words, own_table, ran):
    path = own_table.parent / WAV
    sound = path.read_bytes()
    noise(path, np.nan)
    ran(prepare, words)
    ran(audio_store, words)
    ran(prepare, words, "--partial", "true", "--force", "true")
    ran(audio_store, words, "--partial", "true")
    assert len(rejected()) == 1  # although the store of today knows nothing of it
    assert ran(prepare, words, "--partial", "true")[0] == 0 and len(rejected()) == 1
    path.write_bytes(sound)
    code, printed, _ = ran(prepare, words, "--force", "true")
    assert code == 0 and len(manifest.read(ALL)) == 48 and not REJECTED.exists() and "rejected" not in printed


def test_a_store_that_jobs_open_names_all_that_they_lack(words, own_table):
    for name in ("10A0", "10B1"):
        noise(own_table.parent / "wav" / f"{name}.wav", np.nan)
    prepare.prepare(parse(words))
    opened = store.AudioStore.of(*parse(words).audio())
    opened.refuse_missing(["10A1", "11A0"])
    with pytest.raises(UserError, match="2 faults") as refusal:
        opened.refuse_missing(["10A0", "10A1", "10B1"])
    assert refusal.value.remedy == unsound.REMEDY


# ---------------------------------------------------------------- left out, and counted


def test_what_is_left_out_is_in_rejected_csv_and_on_every_table(words, own_table, ran):
    folder = own_table.parent
    put(b"", WAV)(folder)
    edit("10A1.wav,hap,not at all", "10A1.wav,h&p,not at all")(folder)
    words += ["--partial", "true"]
    assert ran(prepare, words)[0] == ran(folds, words)[0] == 0
    assert rejected() == [
        {"file": "own.csv", "line": "2", "ID": "10A0", "reason": f"'{WAV}': not audio, the file is empty"},
        {"file": "own.csv", "line": "3", "ID": "10A1", "reason": rejected()[1]["reason"]},
    ]
    for fold in ("1A", "1B", "2A", "2B"):
        predict(words, fold)
    score(parse(words))
    results = Path("results/own/speaker/n")
    assert pd.read_csv(results / "summary.csv")["rejected"].item() == 2
    page = (results / "RESULTS.md").read_text()
    assert "- **The corpus was partial:** 2 utterances rejected, see its `rejected.csv`. Faults: own.csv:2:" in page
    assert pd.read_csv(results / "folds.csv")["n"].sum() == 46
    before = ALL.read_bytes()
    edit("10B0,wav/10B0.wav,sad", "10B0,wav/10B0.wav,")(folder)  # another one is lost
    code, _, errors = ran(prepare, words)
    assert code == 2 and "made with other inputs" in errors and ALL.read_bytes() == before


def test_a_sound_corpus_has_no_rejected_csv_and_lacks_nothing(words, ran):
    assert ran(prepare, words, "--partial", "true")[0] == ran(folds, words)[0] == 0
    assert not REJECTED.exists()
    for fold in ("1A", "1B", "2A", "2B"):
        predict(words, fold)
    score(parse(words))
    assert pd.read_csv("results/own/speaker/n/summary.csv")["rejected"].item() == 0
    assert "partial" not in Path("results/own/speaker/n/RESULTS.md").read_text()


def test_a_corpus_of_which_nothing_is_left(words, own_table, ran):
    for path in (own_table.parent / "wav").iterdir():
        soundfile.write(path, np.zeros(1000), 16_000)
    ran(prepare, words)
    assert ran(audio_store, words)[2].count("is silent") == 20
    code, _, errors = ran(prepare, words, "--partial", "true", "--force", "true")
    assert code == 2 and "no utterance of own can be used: wav/10A0.wav: is silent" in errors


def test_names_that_no_text_can_hold_are_escaped_or_refused(tmp_path, workplace, monkeypatch, ran):
    monkeypatch.setattr(iemocap, "FACTS", SMALL_FACTS)
    root = small_release(tmp_path)
    wavs = root / "Session3/sentences/wav/Ses03F_impro01"
    shutil.copy(wavs / f"{F000}.wav", os.fsencode(wavs) + b"/caf\xe9\n.wav")
    assert ran(prepare, ["--corpus", "iemocap", "--data", str(root), "--partial", "true"])[0] == 0
    assert rejected(Path("manifests/iemocap/rejected.csv"))[0]["file"].endswith("/caf\\udce9\\n.wav")
    other = os.fsencode(root.parent) + b"/caf\xe9"
    root.rename(os.fsdecode(other))
    code, _, errors = ran(prepare, ["--corpus", "iemocap", "--data", os.fsdecode(other), "--partial", "true"])
    assert code == 2 and "is not UTF-8" in errors


# ---------------------------------------------------------------- folds


@pytest.mark.parametrize(
    ("folds_given", "unknown"), [("9Z", "9Z"), ("1A 9Z", "9Z"), ("1a", "1a"), ("../1A", "../1A"), ("1A,2B,x", "x")]
)
def test_a_fold_of_an_unknown_speaker_is_refused_by_stage_0(folds_given, unknown, words, ran):
    code, _, errors = ran(prepare, words, "--folds", folds_given)
    assert code == 2 and f"has no fold '{unknown}'" in errors and "1A 1B 2A 2B" in errors
    assert not Path("manifests").exists()


def test_folds_that_cannot_teach_or_choose_are_named_all_of_them():
    emotions = {"A": "ang hap sad", "B": "ang hap", "C": "ang ang", "D": "sad"}
    rows = [(speaker, emotion) for speaker, spoken in emotions.items() for emotion in spoken.split()]
    table = pd.DataFrame(rows, columns=["spk_id", "emo"])
    splits = {
        "A": table["spk_id"].map({"A": "test", "B": "train", "C": "train", "D": "valid"}),
        "B": table["spk_id"].map({"A": "valid", "B": "test", "C": "train", "D": "train"}),
        "C": table["spk_id"].map({"A": "train", "B": "valid", "C": "test", "D": "train"}),
    }
    with pytest.raises(UserError) as refusal:
        checks.refuse_bad_folds(table, splits)
    assert [line.strip() for line in refusal.value.what.splitlines()] == [
        "fold A: no sad in the training set",
        "fold A: only sad in the validation set",
        "fold B: no hap in the training set",
    ]
    checks.refuse_bad_folds(table, {"C": splits["C"]})


def test_folds_whose_training_set_lacks_an_emotion_are_refused_by_stage_1(words, own_table, ran):
    rows = own_table.read_text().splitlines()
    own_table.write_text("\n".join(row if ",1A," in row else row.replace(",sad,", ",hap,") for row in rows))
    assert ran(prepare, words)[0] == 0
    code, _, errors = ran(folds, words)  # 1A validates 1B: neither teaches what is sad
    assert code == 2 and "error: fold 1A: no sad in the training set\n  fold 1B: no sad in the training set\n" in errors
    assert not Path("manifests/own/speaker").exists()


def test_a_fold_of_one_utterance_is_tested_and_its_table_says_so(words, own_table, ran):
    """Its UA is over the emotion that it has."""
    rows = own_table.read_text().splitlines()
    own_table.write_text("\n".join([rows[0], rows[1], *(row for row in rows[2:] if ",1A," not in row)]))
    assert ran(prepare, words)[0] == 0
    code, _, errors = ran(folds, words)  # 1A validates 1B
    assert code == 2 and "error: fold 1B: only ang in the validation set\n" in errors
    words += ["--valid", "none"]
    assert ran(folds, words)[0] == 0
    assert len(manifest.read(Path("manifests/own/speaker-valid_none/1A/test.csv"))) == 1
    predict(words, "1A", wrong=0, lost=0)
    predict(words, "2A")
    score(parse(words))
    page = Path("results/own/speaker/n/RESULTS.md").read_text()
    assert "- **Warning:** of 2 folds, not all test every emotion: `hap` in 1, `sad` in 1; the UA of a fold" in page
    tested = pd.read_csv("results/own/speaker/n/folds.csv", dtype={"fold": str}).set_index("fold")
    assert tested["n"]["1A"] == 1 and tested["ua"]["1A"] == 1.0


def test_an_emotion_that_no_fold_tests_is_named():
    pooled = pd.DataFrame({"emo": ["ang", "ang"], "fold": ["1", "2"], "p_ang": 0.5, "p_sad": 0.5})
    assert untested_label_notes(pooled) == [
        "of 2 folds, not all test every emotion: `sad` in 0; the UA of a fold is over those that it tests"
    ]


# ---------------------------------------------------------------- as a user runs it


def test_no_traceback_and_exit_code_2(command, words, own_table):
    put(b"", WAV)(own_table.parent)
    edit("10A1,wav", "10a0,wav")(own_table.parent)
    code, out, err = command("prepare", *words)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: corpus own: 2 faults",
        f"  own.csv:2: '{WAV}': not audio, the file is empty",
        "  own.csv:3: ID '10a0' is '10A0' of line 2 in another spelling",
        "  try: fix them, or go on without them: --partial true",
    ]
