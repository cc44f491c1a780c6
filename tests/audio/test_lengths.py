"""Audio files that are whole, cut short, or not closed by their recorder, of every container and codec."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.audio.header import examine
from local.audio.lengths import find_samples
from local.audio.recordings import load

NOISE = 0.1 * np.random.default_rng(1).standard_normal((5001, 2))
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "SVX", "VOC", "OGG", "FLAC", "MP3")
# python-soundfile cannot read DWVW of 16 and 24 bits, nor what it writes as SD2 and without a header.
UNREADABLE = {("AIFF", "DWVW_16"), ("AIFF", "DWVW_24")}
KINDS = [
    (kind, subtype)
    for kind in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(kind)
    if kind not in ("RAW", "SD2") and (kind, subtype) not in UNREADABLE
]


def written(kind: str, subtype: str | None = None, endian: str = "FILE", frames: int = 5001) -> list[bytes]:
    """Files of a kind with one channel and with two, as far as it allows them."""
    files = []
    for channels in (1, 2):
        file = io.BytesIO()
        try:
            soundfile.write(file, NOISE[:frames, :channels], 16_000, subtype, endian, format=kind)
        except (soundfile.LibsndfileError, ValueError):
            continue
        files.append(file.getvalue())
    return files


def examined(path: Path, content: bytes) -> int | str:
    """The number of frames of a file, or what is wrong with it."""
    path.write_bytes(content)
    try:
        return examine(path).frames
    except OSError as error:
        return str(error)


def test_no_whole_file_is_refused(tmp_path):
    seen = set()
    for kind, subtype in KINDS:
        for endian in ("FILE", "LITTLE", "BIG"):
            for content in written(kind, subtype, endian):
                frames = examined(tmp_path / "a", content)
                # Some codecs fill their last block.
                assert isinstance(frames, int) and 5001 <= frames < 5001 + 2000, (kind, subtype, endian, frames)
                seen.add((kind, subtype))
    assert {("WAV", "GSM610"), ("WAV", "G721_32"), ("XI", "DPCM_16"), ("OGG", "OPUS"), ("NIST", "ULAW")} <= seen


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_24"])
def test_a_codec_that_cannot_seek_is_read_whole(tmp_path, subtype):
    path = tmp_path / "a.wav"
    path.write_bytes(written("WAV", subtype)[0])
    with soundfile.SoundFile(path) as file:
        assert not file.seekable()
        samples = file.read(frames=file.frames, dtype="float32")
    assert np.array_equal(load(path).wav.numpy(), samples) and np.corrcoef(samples[:5001], NOISE[:, 0])[0, 1] > 0.5


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_cut_short_is_refused(tmp_path, kind):
    for subtype in soundfile.available_subtypes(kind):
        for content in [] if (kind, subtype) in UNREADABLE else written(kind, subtype):
            for share in (0.5, 0.9, 0.97):
                found = examined(tmp_path / f"a.{kind.lower()}", content[: round(share * len(content))])
                # Of some, libsndfile needs what is behind the samples.
                assert "cut short" in str(found) or "libsndfile" in str(found), (kind, subtype, share, found)


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU"])
def test_either_order_of_bytes(tmp_path, kind, endian):
    content = written(kind, "PCM_16", endian)[0]
    assert content[:4] in {"WAV": b"RIFF RIFX", "AIFF": b"FORM", "AU": b".snd dns."}[kind]
    found = examined(tmp_path / "a", content[:-2])
    assert found == f"is cut short: its header promises {len(content)} bytes, it has {len(content) - 2}"


def test_an_ogg_that_ends_within_a_page_is_cut_short(tmp_path):
    content = written("OGG", "VORBIS")[0]
    pages = [at for at in range(len(content)) if content[at : at + 5] == b"OggS\0"]
    for end in range(pages[-1] - 60, len(content)):
        samples = find_samples(io.BytesIO(content[:end]))
        assert (samples.end > end) == (end not in pages)
    assert find_samples(io.BytesIO(content)).end == len(content)
    assert find_samples(io.BytesIO(content + b"TAG and more")).end == len(content)
    assert "cut short" in examined(tmp_path / "a.ogg", content[:-1])


def test_an_ogg_whose_recorder_did_not_mark_the_end_is_taken(tmp_path):
    content = bytearray(written("OGG", "VORBIS")[0])
    at = content.rfind(b"OggS\0")
    content[at + 5] &= ~4
    content[at + 22 : at + 26] = bytes(4)
    checksum = 0
    for byte in content[at:]:  # RFC 3533: polynomial 0x04c11db7, without reflection
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    content[at + 22 : at + 26] = struct.pack("<I", checksum)
    assert examined(tmp_path / "a.ogg", bytes(content)) == 5001


OPEN = (0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36)


@pytest.mark.parametrize(
    ("kind", "endian", "head"),
    [
        ("WAV", "LITTLE", "<I"),
        ("WAV", "BIG", ">I"),
        ("AIFF", "BIG", ">I"),
        ("AU", "BIG", ">I"),
        ("AU", "LITTLE", "<I"),
        ("SVX", "BIG", ">I"),
    ],
)
def test_an_open_length_is_no_length(tmp_path, kind, endian, head):
    content = written(kind, "PCM_16", endian)[0]
    at = 8 if kind == "AU" else find_samples(io.BytesIO(content)).start - 4
    for length in OPEN:
        changed = content[:at] + struct.pack(head, length) + content[at + 4 :]
        found = examined(tmp_path / "a", changed)
        # Of an AU, libsndfile knows one such number.
        assert found == 5001 or (kind == "AU" and "promises an unknown number of bytes" in found and length != OPEN[4])
    changed = content[:at] + struct.pack(head, 0xC0000000) + content[at + 4 :]  # a true length of 3 GB
    assert "is cut short" in examined(tmp_path / "a", changed)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AU"])
def test_a_length_of_zero_is_that_of_a_recorder_that_was_stopped(tmp_path, kind):
    content = written(kind, "PCM_16")[0]
    start = find_samples(io.BytesIO(content)).start
    at = {"WAV": start - 4, "RF64": content.find(b"ds64") + 16, "AU": 8}[kind]
    changed = content[:at] + bytes(4) + content[at + 4 :]
    said = "its header promises 0 bytes of samples, 10002 follow: its recorder did not close it"
    assert examined(tmp_path / "a", changed) == said
    assert examined(tmp_path / "a", changed[:start]) == "holds no samples"


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "OGG"])
def test_a_file_of_no_samples_is_that_of_no_recorder(tmp_path, kind):
    assert [examined(tmp_path / "a", content) for content in written(kind, frames=0)] == 2 * ["holds no samples"]


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind not in ("FLAC", "MP3")])
def test_damaged_headers_do_not_break_the_search(kind):
    """Each byte of a header, or each but a few, as 0, 255 or the end of the file."""
    content = written(kind)[0]
    start = min(find_samples(io.BytesIO(content)).start or 200, 200)
    for at in range(4, start, 3):
        for damaged in (content[:at] + b"\xff" + content[at + 1 :], content[:at] + bytes(8) + content[at + 8 :]):
            find_samples(io.BytesIO(damaged))
        find_samples(io.BytesIO(content[:at]))
