"""The audio store: every sample as in its file; built once, rebuilt when a file changes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from paths import REPOSITORY
from torch.utils.data import DataLoader

from local.audio.recordings import read
from local.core.errors import UserError
from local.core.lock import locked
from local.core.markers import make_once
from local.corpora import manifest
from local.data import store
from local.data.store import AudioStore, contents
from local.experiment.command_line import parse
from local.launch import build_audio_store
from local.prepare import prepare

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def table_of(*names: str, suffix: str = ".wav") -> pd.DataFrame:
    """A table of utterances of one second, each in a file of its own name."""
    table = pd.DataFrame({"ID": names, "duration": 1.0, "wav": [f"$data_root/{name}{suffix}" for name in names]})
    return table.reindex(columns=list(manifest.COLUMNS), fill_value="")


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[pd.DataFrame, Path, dict[str, np.ndarray]]:
    """Four utterances of 16-bit noise that reaches both ends of the range: table, root and samples."""
    root = tmp_path / "corpus"
    root.mkdir()
    chance = np.random.default_rng(1)
    samples = {}
    for name, size in (("b", 1000), ("a", 1), ("NA", 2222), ("1e5", 777)):
        samples[name] = chance.integers(-(2**15), 2**15, size=size, dtype=np.int16)
        samples[name][0] = 32767 if size % 2 else -32768
        soundfile.write(root / f"{name}.wav", samples[name], 16_000)
    return table_of(*samples), root, samples


def opened(folder: Path, corpus) -> AudioStore:
    return AudioStore.of(folder, *corpus[:2])


def made(folder: Path) -> tuple[int, int]:
    """What tells one making of a store from the next."""
    stat = (folder / "audio.i16").stat()
    return stat.st_ino, stat.st_mtime_ns


# ---------------------------------------------------------------- samples


def test_16_bit_samples_are_kept_to_the_last_bit(tmp_path, corpus):
    _, root, samples = corpus
    audio = opened(tmp_path, corpus)
    assert list(audio) == list(samples) and len(audio) == 4
    for name, wanted in samples.items():
        assert (audio.rows(name) == wanted).all()
        held, _ = soundfile.read(root / f"{name}.wav", dtype="float32")
        assert (audio[name].numpy() == held).all() and audio[name].dtype.is_floating_point
        assert audio[name].equal(read(root / f"{name}.wav").wav)
    assert (tmp_path / "audio.i16").read_bytes() == np.concatenate(list(samples.values())).astype("<i2").tobytes()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [3e-6, 1e-3, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    ("suffix", "subtype", "rate"),
    [
        (".wav", "PCM_16", 8_000),
        (".wav", "PCM_24", 16_000),
        (".wav", "FLOAT", 16_000),
        (".wav", "DOUBLE", 48_000),
        (".flac", "PCM_16", 16_000),
        (".ogg", "VORBIS", 24_000),
    ],
)
def test_training_hears_what_a_model_in_use_hears(tmp_path, suffix, subtype, rate, channels, level):
    wav = level * np.random.default_rng(2).uniform(-1, 1, size=(rate // 10, channels))
    soundfile.write(tmp_path / f"u{suffix}", wav, rate, subtype=subtype)
    used = read(tmp_path / f"u{suffix}").wav.double().numpy()
    audio = AudioStore.of(tmp_path, table_of("u", suffix=suffix), tmp_path)
    if not used.any():  # too quiet for the format
        assert "all samples are zero" in audio.facts["faults"]["u"][1] and level == 3e-6
        return
    lost = np.linalg.norm(audio["u"].double().numpy() - used) / np.linalg.norm(used)
    assert lost <= 1e-4 and len(audio["u"]) == len(used)
    is_rounded = np.abs(used * 2**15 - (used * 2**15).round()).max() > 0
    assert (audio.rows("u").dtype == np.float32) == ("u" in audio.facts["floats"])
    assert lost == 0 or (is_rounded and "u" not in audio.facts["floats"])


def test_stored_and_rounded_samples_lie_side_by_side(tmp_path):
    """Floating point that begins at an odd 16-bit number, too."""
    wavs = {"a": np.array([0.25]), "b": np.array([1e-5, -3.0, 0.1]), "c": np.array([0.5, -1.0]), "d": np.array([2.0])}
    for name, wav in wavs.items():
        soundfile.write(tmp_path / f"{name}.wav", wav, 16_000, subtype="FLOAT")
    audio = AudioStore.of(tmp_path, table_of(*wavs), tmp_path)
    assert audio.facts["floats"] == ["b", "d"] and (tmp_path / "audio.i16").stat().st_size == 2 * 3 + 4 * 4
    for name, wav in wavs.items():
        assert np.array_equal(audio[name].numpy(), wav.astype(np.float32))


def test_odd_files_are_counted_and_named(tmp_path, caplog):
    samples = np.random.default_rng(6).uniform(-0.9, 0.9, size=1000)
    written = {
        "fine": samples,
        "loud": 2 * samples,
        "loud2": 1.2 * samples,
        "swapped": np.stack([samples, -samples], 1),
    }
    for name, wav in written.items():
        soundfile.write(tmp_path / f"{name}.wav", wav, 16_000, subtype="FLOAT")
    assert store.remarks(tmp_path) == []
    audio = AudioStore.of(tmp_path, table_of(*written), tmp_path)
    lines = [
        "2 files have samples past full scale, which are used as they are",
        "1 file has channels in opposite phase, of which the loudest is used instead of their mean",
    ]
    assert store.remarks(tmp_path) == lines
    assert caplog.messages == [f"{lines[0]}; the first is loud", f"{lines[1]}; the first is swapped"]
    assert np.allclose(audio["swapped"].numpy(), samples, atol=2e-5)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("kind", ["absent", "text", "not finite"])
def test_a_file_that_cannot_be_read_is_refused_by_those_who_need_it(tmp_path, corpus, kind):
    _, root, samples = corpus
    path = root / "NA.wav"
    sound = path.read_bytes()
    path.unlink()
    if kind == "text":
        path.write_text("no audio, " * 99)
    elif kind == "not finite":
        soundfile.write(path, [0.0, np.nan], 16_000, subtype="FLOAT")
    audio = opened(tmp_path, corpus)
    audio.refuse_missing(["a", "b", "1e5"])
    assert all((audio.rows(name) == samples[name]).all() for name in ("a", "b", "1e5"))
    with pytest.raises(UserError, match=r"NA\.wav") as error:
        opened(tmp_path, corpus).refuse_missing(["a", "NA"])  # as it was noted
    assert "stage 0" in error.value.remedy
    path.write_bytes(sound)
    assert (opened(tmp_path, corpus).rows("NA") == samples["NA"]).all()


def test_an_utterance_that_is_not_in_the_corpus(tmp_path, corpus):
    with pytest.raises(UserError, match=r"utterance zz is not in .*all\.csv"):
        opened(tmp_path, corpus).refuse_missing(["a", "zz"])


def test_a_corpus_none_of_which_can_be_read(tmp_path):
    audio = AudioStore.of(tmp_path, table_of("u"), tmp_path)
    assert len(audio) == 0
    with pytest.raises(UserError, match=r"u\.wav"):
        audio.refuse_missing(["u"])


def test_a_full_disk_is_an_error_with_the_bytes_needed(tmp_path):
    def make(_) -> dict:
        with open("/dev/full", "wb") as full:
            full.write(b"x")
        return {}

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(UserError, match=r"audio\.i16 cannot be written, the disk is full: it needs 1,234,567 bytes"):
        make_once(tmp_path / "audio.i16", "", 1_234_567, make)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- built once, and rebuilt


def test_a_complete_store_is_opened(tmp_path, corpus):
    first = opened(tmp_path, corpus)
    before = made(tmp_path)
    again = opened(tmp_path, corpus)
    assert made(tmp_path) == before and again.fingerprint == first.fingerprint
    assert again["b"].equal(first["b"])


@pytest.mark.parametrize("change", ["size", "time", "one more", "one less", "order", "root", "name"])
def test_it_is_rebuilt_for_another_corpus(tmp_path, corpus, change):
    table, root, samples = corpus
    before = opened(tmp_path, corpus)
    old = before["a"].clone()
    if change == "size":
        soundfile.write(root / "a.wav", samples["b"], 16_000)
        samples["a"] = samples["b"]
    elif change == "time":  # other samples, as many
        stat = (root / "a.wav").stat()
        soundfile.write(root / "a.wav", -samples["a"] - 1, 16_000)
        os.utime(root / "a.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        samples["a"] = -samples["a"] - 1
    elif change == "one more":
        soundfile.write(root / "new.wav", samples["b"], 16_000)
        table, samples["new"] = table_of(*samples, "new"), samples["b"]
    elif change == "one less":
        table = table[table["ID"] != "b"]
    elif change == "order":
        table = table[::-1]
    elif change == "root":
        root = root.rename(tmp_path / "moved")
    elif change == "name":
        table = table.replace({"ID": {"b": "other"}})
        samples["other"] = samples["b"]
    after = AudioStore.of(tmp_path, table, root)
    assert after.fingerprint != before.fingerprint
    assert list(after) == table["ID"].tolist()
    assert all((after.rows(name) == samples[name]).all() for name in after)
    assert before["a"].equal(old)  # a job goes on with what it began with


def test_its_contents_are_known_by_their_digest_whenever_they_were_written(tmp_path, corpus):
    _, root, samples = corpus
    assert contents(tmp_path, "own") == {}
    opened(tmp_path, corpus)
    before = contents(tmp_path, "own")
    assert list(before) == ["own"]
    os.utime(root / "a.wav", ns=(1, 1))
    opened(tmp_path, corpus)
    assert contents(tmp_path, "own") == before
    soundfile.write(root / "a.wav", -samples["a"] - 1, 16_000)  # as many samples
    opened(tmp_path, corpus)
    assert contents(tmp_path, "own").keys() == before.keys() and contents(tmp_path, "own") != before


@pytest.mark.parametrize("damage", ["no samples", "no marker", "samples cut short", "marker cut short"])
def test_half_a_store_is_rebuilt(tmp_path, corpus, damage):
    opened(tmp_path, corpus)
    path = tmp_path / ("audio.i16" if "samples" in damage else "audio.json")
    content = path.read_bytes()
    path.unlink()
    if "cut" in damage:
        path.write_bytes(content[:-9])
    audio = opened(tmp_path, corpus)
    assert all((audio.rows(name) == wanted).all() for name, wanted in corpus[2].items())
    assert path.read_bytes() == content


CHILD = """
import logging, sys, time, pandas as pd
from pathlib import Path
from local.data import store
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
decode_all = store._decode_all
def noted(*given):
    print("makes it", flush=True)
    made = decode_all(*given)
    if sys.argv[2:]:
        given[-1].flush()
        time.sleep(99)
    return made
store._decode_all = noted
folder = Path(sys.argv[1])
audio = store.AudioStore.of(folder, pd.read_pickle(folder / "table.pkl"), folder / "corpus")
print("sum", sum(int(audio.rows(name).sum()) for name in audio))
"""


def child(folder: Path, table: pd.DataFrame, *words: str) -> subprocess.Popen:
    """A process that opens the store of a corpus in `folder`; with `stays`, it is not done when all is written."""
    table.to_pickle(folder / "table.pkl")
    command = [sys.executable, "-c", CHILD, str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def test_of_two_processes_at_once_one_makes_it_and_both_read_it(tmp_path, corpus):
    table, _, samples = corpus
    with locked(tmp_path / ".audio.i16.lock", "holds it"):
        children = [child(tmp_path, table) for _ in range(2)]
        waits = [one.stdout.readline() for one in children]  # both find no store, and wait
    outputs = [one.communicate()[0] for one in children]
    assert all(line.startswith(f"waiting for process {os.getpid()} on ") and "which makes" in line for line in waits)
    assert sum(text.count("makes it") for text in outputs) == 1
    total = sum(int(each.sum()) for each in samples.values())
    assert [text.splitlines()[-1] for text in outputs] == [f"sum {total}"] * 2


def test_a_process_that_is_killed_leaves_no_half_store(tmp_path, corpus):
    _, root, samples = corpus
    opened(tmp_path, corpus)
    long = np.random.default_rng(3).integers(-(2**15), 2**15, size=50_000, dtype=np.int16)
    for name in "cde":
        soundfile.write(root / f"{name}.wav", long, 16_000)
    table = table_of(*samples, *"cde")
    maker = child(tmp_path, table, "stays")
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".audio.i16.*.tmp")):
        assert maker.poll() is None
        time.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    assert not (tmp_path / "audio.json").exists() and not (tmp_path / "audio.i16").exists()
    audio = AudioStore.of(tmp_path, table, root)
    assert list(tmp_path.glob(".*.tmp")) == []
    for name, wanted in (samples | dict.fromkeys("cde", long)).items():
        assert (audio.rows(name) == wanted).all()


# ---------------------------------------------------------------- other processes, stages


def test_a_worker_reads_what_this_process_reads(tmp_path, corpus):
    audio = opened(tmp_path, corpus)
    names = ["NA", "a", "1e5", "b"]
    reader = DataLoader(audio, sampler=names, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert all(result.equal(audio[name]) for name, result in zip(names, reader, strict=True))


def test_pickled_it_has_no_samples(tmp_path):
    soundfile.write(tmp_path / "u.wav", np.random.default_rng(4).uniform(-1, 1, 100_000), 16_000)
    audio = AudioStore.of(tmp_path, table_of("u"), tmp_path)
    pickled = pickle.dumps(audio)
    assert len(pickled) < 2000
    assert pickle.loads(pickled)["u"].equal(audio["u"])


def test_stage_0_by_force_discards_it(workplace, own_table):
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    prepare(parse(words))
    audio = AudioStore.of(*parse(words).audio())
    (audio.path.with_name("cnn-0.f16")).write_bytes(b"")
    prepare(parse(words))
    assert store.is_built(*parse(words).audio())
    prepare(parse([*words, "--force", "true"]))
    assert not store.is_built(*parse(words).audio())
    assert sorted(path.name for path in audio.path.parent.iterdir()) == ["all.csv", "all.json"]


def test_the_launcher_builds_it_without_torch_and_prints_one_line(workplace, own_table, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--", "--device", "cpu"]
    prepare(parse(words))
    capfd.readouterr()
    build_audio_store(parse(words), words)
    outputs = capfd.readouterr().out
    assert outputs.startswith("  audio store: 48 utterances, 0.00 GB (built in ") and outputs.count("\n") == 1
    assert len(AudioStore.of(*parse(words).audio())) == 48
    build_audio_store(parse(words), words)
    assert capfd.readouterr() == ("", "")
    program = "import sys, local.launch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT).returncode == 0
