"""Audio of every kind at 16 kHz mono, and utterances as batches."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io.wavfile
import scipy.signal
import soundfile
import torch

from local.audio.recordings import load_wav
from local.core.errors import UserError
from local.corpora import manifest
from local.data.dataset import Utterances
from local.data.store import AudioStore
from local.text import tokenizer
from local.text.tokenizer import Tokenizer

LABELS = ["ang", "hap", "sad"]


def sine(rate: int, hertz: float = 440.0, seconds: float = 0.5, extra: int = 0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds) + extra) / rate)


def loudest(wav: np.ndarray) -> float:
    """The frequency in Hz at which a 16 kHz signal has its peak, to about 1 Hz."""
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav)), n=16_000))
    return float(spectrum.argmax())


# ---------------------------------------------------------------- audio


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("extra", [0, 1, 37])
def test_a_sine_keeps_its_frequency_length_and_level(tmp_path, rate, extra):
    soundfile.write(tmp_path / "a.wav", sine(rate, extra=extra), rate)
    wav = load_wav(tmp_path / "a.wav")
    assert wav.dtype == torch.float32 and wav.ndim == 1
    assert abs(len(wav) - (rate // 2 + extra) * 16_000 / rate) < 1
    assert abs(loudest(wav.numpy()) - 440) <= 1
    assert wav[800:-800].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize(("rate", "up", "down"), [(8_000, 2, 1), (44_100, 160, 441), (48_000, 1, 3)])
def test_resampling_against_scipys(tmp_path, rate, up, down):
    chance = np.random.default_rng(1)
    low = scipy.signal.firwin(255, 3000, fs=rate)  # far below the edge of either band
    wanted = scipy.signal.lfilter(low, 1, chance.normal(size=rate))
    wanted *= 0.5 / np.abs(wanted).max()
    soundfile.write(tmp_path / "a.wav", wanted, rate, subtype="FLOAT")
    found = load_wav(tmp_path / "a.wav").numpy()
    expected = scipy.signal.resample_poly(wanted, up, down)
    assert len(found) == len(expected) == 16_000
    assert np.abs(found - expected)[200:-200].max() < 0.005


def test_what_a_narrower_band_cannot_hold_is_filtered_out(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(48_000, hertz=15_000), 48_000)
    assert load_wav(tmp_path / "a.wav").abs()[200:-200].max() < 0.01  # and does not come back at 1 kHz


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_format_gives_the_samples_that_were_written(tmp_path, name, subtype, tolerance):
    wanted = sine(16_000)
    soundfile.write(tmp_path / name, wanted, 16_000, subtype=subtype)
    found = load_wav(tmp_path / name).numpy()
    read, _ = soundfile.read(tmp_path / name)
    assert len(found) == len(read)
    assert np.abs(found - read).max() < 1e-6
    if len(found) == len(wanted):  # MP3 has frames of its own
        assert np.abs(found - wanted).max() < tolerance
    assert abs(loudest(found) - 440) <= 1


def test_integers_against_scipys_and_pythons_own_readers(tmp_path):
    chance = np.random.default_rng(2)
    samples = chance.integers(-(2**15), 2**15, size=999, dtype=np.int16)
    scipy.io.wavfile.write(tmp_path / "16.wav", 16_000, samples)
    assert (load_wav(tmp_path / "16.wav").double().numpy() == samples / 2**15).all()
    samples = chance.integers(-(2**23), 2**23, size=999)
    with wave.open(str(tmp_path / "24.wav"), "wb") as out:
        out.setparams((1, 3, 16_000, 999, "NONE", ""))
        out.writeframes(b"".join(int(sample).to_bytes(3, "little", signed=True) for sample in samples))
    assert (load_wav(tmp_path / "24.wav").double().numpy() == samples / 2**23).all()


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path, channels):
    chance = np.random.default_rng(3)
    wanted = chance.uniform(-0.5, 0.5, size=(800, channels))
    soundfile.write(tmp_path / "a.wav", wanted, 16_000, subtype="FLOAT")
    found = load_wav(tmp_path / "a.wav")
    assert found.shape == (800,)
    assert np.abs(found.numpy() - wanted.mean(1)).max() < 1e-7


@pytest.mark.parametrize("kind", ["absent", "a folder", "empty", "text", "cut short"])
def test_what_cannot_be_decoded_is_named(tmp_path, kind):
    path = tmp_path / "a.flac"
    if kind == "a folder":
        path.mkdir()
    elif kind == "cut short":
        soundfile.write(path, np.random.default_rng(4).uniform(-1, 1, 16_000), 16_000)
        path.write_bytes(path.read_bytes()[:10_000])
    elif kind != "absent":
        path.write_text("" if kind == "empty" else "not audio at all, " * 99)
    with pytest.raises(UserError) as refusal:
        load_wav(path)
    assert str(path) in refusal.value.what and "\n" not in refusal.value.what


# ---------------------------------------------------------------- batches


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[pd.DataFrame, Utterances]:
    """Five utterances of 100 to 1500 samples, one without a transcript, in files with a `$` in their names."""
    chance = np.random.default_rng(5)
    rows = []
    for i, (size, text) in enumerate(((700, "A CAB"), (100, "BAC"), (1500, ""), (700, "C"), (300, "ABBA ABBA"))):
        soundfile.write(tmp_path / f"{i}$x.wav", chance.uniform(-1, 1, size), 16_000, subtype="PCM_16")
        columns = {
            "ID": ("NA", "null", "1e5", "007", "u")[i],
            "duration": size / 16_000,
            "emo": LABELS[i % 3],
            "wrd": text,
        }
        rows.append(dict.fromkeys(manifest.COLUMNS, "") | {"wav": f"$data_root/{i}$x.wav"} | columns)
    manifest.write(tmp_path / "test.csv", pd.DataFrame(rows))
    table = manifest.read(tmp_path / "test.csv")
    tokenizer.train(table["wrd"], tmp_path / "tokenizer.model")
    audio = AudioStore.of(tmp_path, table, tmp_path)
    return table, Utterances(table, audio, LABELS, Tokenizer(tmp_path / "tokenizer.model"))


def test_an_utterance_is_its_file(corpus, tmp_path):
    table, utterances = corpus
    assert utterances.ids == ["007", "1e5", "NA", "null", "u"]
    for index, path in enumerate(table["wav"]):
        wanted, _ = soundfile.read(tmp_path / path.rpartition("/")[2], dtype="float32")
        assert utterances[index][0] == index and (utterances[index][1].numpy() == wanted).all()


@pytest.mark.parametrize("indices", [[0], [2, 0], [4, 3, 2, 1, 0], [1, 1]])
def test_a_batch_pads_and_keeps_every_true_length(corpus, tmp_path, indices):
    table, utterances = corpus
    items = [utterances[index] for index in indices]
    batch = utterances.collate(items)
    rows = table.iloc[indices]
    sizes = [round(duration * 16_000) for duration in rows["duration"]]
    assert batch.ids == rows["ID"].tolist() and batch.texts == rows["wrd"].tolist() and len(batch) == len(indices)
    padded = -(-max(sizes) // 640) * 640
    assert batch.lengths.tolist() == sizes and batch.wavs.shape == (len(indices), padded)
    for wav, padded, size in zip((wav for _, wav in items), batch.wavs, sizes, strict=True):
        assert torch.equal(padded[:size], wav) and not padded[size:].any()
    assert [LABELS[index] for index in batch.targets.emotion] == rows["emo"].tolist()
    assert batch.targets.n_tokens.tolist() == [len(text) for text in rows["wrd"]]  # one token a character
    assert batch.targets.tokens.shape == (len(indices), max(len(text) for text in rows["wrd"]))
    assert batch.targets.tokens.dtype == batch.targets.emotion.dtype == torch.long
    learned = Tokenizer(tmp_path / "tokenizer.model")
    for tokens, size, text in zip(batch.targets.tokens, batch.targets.n_tokens, rows["wrd"], strict=True):
        assert learned.decode(tokens[:size].tolist()) == text
        assert tokens[:size].all() and not tokens[size:].any()  # 0 is padding, and only that


def test_a_batch_without_any_transcript(corpus):
    _, utterances = corpus
    batch = utterances.collate([utterances[utterances.ids.index("1e5")]])
    assert batch.targets.tokens.shape == (1, 0) and batch.targets.n_tokens.tolist() == [0]


def test_moving_a_batch_keeps_all_of_it(corpus):
    _, utterances = corpus
    batch = utterances.collate([utterances[0], utterances[1]])
    moved = batch.to("cpu")
    assert moved.ids == batch.ids and moved.texts == batch.texts
    assert torch.equal(moved.wavs, batch.wavs) and torch.equal(moved.lengths, batch.lengths)
    assert all(torch.equal(one, other) for one, other in zip(moved.targets, batch.targets, strict=True))


def test_utterances_longer_than_the_encoder_reads(corpus):
    _, utterances = corpus
    utterances.refuse_longer_than(None)
    utterances.refuse_longer_than(1500)
    with pytest.raises(UserError, match=r"utterance 1e5 lasts 0\.1 s"):
        utterances.refuse_longer_than(1499)
