"""A model in use: every way of asking gives what the system says, of any recording, alone or with others."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import signal
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile
import tiny_folders
import torch
import torchaudio
from huggingface_hub import errors
from speechbrain.inference.interfaces import Pretrained
from tiny_folders import LABELS, TOKENS, noise

from local.audio import recordings
from local.audio.recordings import Unreadable
from local.core.errors import UserError
from local.inference import model_folder
from local.inference.analyzer import Analysis, NotFinite
from local.inference.recognizer import EmotionRecognizer

KINDS = {
    "wav2vec2-group": {},
    "wavlm-layer": {},
    "w2v-bert": {},
    "whisper": {},
    "ensemble": {"family": "hubert-group", "members": 2},
}
SECONDS = (1.31, 0.5, 2.0, 0.1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("folders")
    return {kind: tiny_folders.write(top / kind, **({"family": kind} | given)) for kind, given in KINDS.items()}


@pytest.fixture(scope="module")
def recognizers(folders) -> dict[str, EmotionRecognizer]:
    return {kind: EmotionRecognizer.from_hparams(folder) for kind, folder in folders.items()}


@pytest.fixture
def recognizer(recognizers) -> EmotionRecognizer:
    return recognizers["wav2vec2-group"]


def batch() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Waves, the same padded, and their relative lengths."""
    waves = [torch.from_numpy(noise(seconds, seed)) for seed, seconds in enumerate(SECONDS)]
    return waves, torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(SECONDS) / max(SECONDS)


def close(analysis: Analysis, other: Analysis, atol: float = 1e-4) -> bool:
    same = (analysis.emotion, analysis.transcript) == (other.emotion, other.transcript)
    return same and np.allclose(list(analysis.posteriors.values()), list(other.posteriors.values()), rtol=0, atol=atol)


# ---------------------------------------------------------------- batches, files, and all at once


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_the_output_of_the_system_for_each_alone(recognizers, kind):
    recognizer = recognizers[kind]
    waves, wavs, wav_lens = batch()
    posteriors, score, index, labels = recognizer.classify_batch(wavs, wav_lens)
    texts, tokens = recognizer.transcribe_batch(wavs, wav_lens)
    for at, wave in enumerate(waves):
        outputs = recognizer.model.system(wave[None], torch.tensor([len(wave)]))
        torch.testing.assert_close(posteriors[at], outputs.emotion[0].softmax(-1), rtol=0, atol=1e-4)
        assert index[at] == outputs.emotion[0].argmax() and labels[at] == LABELS[index[at]]
        assert score[at] == posteriors[at].max()
        best = outputs.tokens[0, : outputs.n_frames[0]].argmax(-1).tolist()
        assert tokens[at] == [token for token, _ in groupby(best) if token != 0]
        spelling = "".join(TOKENS[token] for token in tokens[at] if token != 1)
        assert texts[at] == " ".join(spelling.replace("\u2581", " ").split())
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_asking_gives_the_same(recognizers, kind, tmp_path):
    recognizer = recognizers[kind]
    waves, wavs, wav_lens = batch()
    together = recognizer.analyze_batch([recordings.of_array(wave, 16_000) for wave in waves])
    classified = recognizer.classify_batch(wavs, wav_lens)
    texts, _ = recognizer.transcribe_batch(wavs, wav_lens)
    for at, wave in enumerate(waves):
        soundfile.write(tmp_path / "a.wav", wave, 16_000, "FLOAT")
        analysis = recognizer.analyze(tmp_path / "a.wav")
        assert close(together[at], analysis)
        assert (analysis.emotion, analysis.transcript) == (classified[3][at], texts[at])
        assert list(analysis.posteriors) == LABELS
        assert analysis.emotion == max(analysis.posteriors, key=analysis.posteriors.get)
        assert sum(analysis.posteriors.values()) == pytest.approx(1, abs=1e-9)
        posteriors, score, _, labels = recognizer.classify_file(tmp_path / "a.wav")
        assert posteriors[0].tolist() == pytest.approx(list(analysis.posteriors.values()), abs=1e-4)
        assert (labels, score) == ([analysis.emotion], posteriors.max())
        assert recognizer.transcribe_file(str(tmp_path / "a.wav")) == analysis.transcript


@pytest.mark.parametrize("kind", KINDS)
def test_words_spell_the_transcript_and_lie_in_the_recording(recognizers, kind):
    for seed, seconds in enumerate(SECONDS):
        analysis = recognizers[kind].analyze(noise(seconds, seed), 16_000)
        assert analysis.duration == pytest.approx(seconds)
        assert " ".join(word.text for word in analysis.words) == analysis.transcript
        times = [time for word in analysis.words for time in (word.start, word.end)]
        assert times == sorted(times) and all(0 <= time <= analysis.duration for time in times)
        assert all(word.start < word.end and 0 < word.score <= 1 for word in analysis.words)
    assert recognizers[kind].analyze_batch([recordings.of_array(noise(1), 16_000)], words=False)[0].words == []


RECORDINGS = {
    "mono": (16_000, 1, "PCM_16", "wav"),
    "8 kHz": (8_000, 1, "PCM_16", "wav"),
    "stereo FLAC": (44_100, 2, "PCM_16", "flac"),
    "six channels of 24 bits": (96_000, 6, "PCM_24", "wav"),
}


@pytest.mark.parametrize(("rate", "channels", "subtype", "suffix"), RECORDINGS.values(), ids=RECORDINGS)
def test_a_recording_is_taken_in_any_form(recognizer, tmp_path, rate, channels, subtype, suffix):
    samples = np.stack([noise(1.2, seed, rate) for seed in range(channels)], 1)
    soundfile.write(tmp_path / f"a.{suffix}", samples, rate, subtype)
    stored, _ = soundfile.read(tmp_path / f"a.{suffix}", dtype="float32", always_2d=True)
    mono = torchaudio.functional.resample(torch.from_numpy(stored.mean(1)), rate, 16_000)
    outputs = recognizer.model.system(mono[None], torch.tensor([len(mono)]))
    given = [
        (str(tmp_path / f"a.{suffix}"),),
        (tmp_path / f"a.{suffix}",),
        (stored, rate),
        (stored.T, rate),
        (torch.from_numpy(stored), rate),
        (torch.from_numpy(stored).double(), float(rate)),
    ]
    if channels == 1:
        given += [(stored[:, 0], rate), ((stored * 2**15).astype(np.int16), rate)]
    for each in given:
        analysis = recognizer.analyze(*each)
        posteriors = list(analysis.posteriors.values())
        np.testing.assert_allclose(posteriors, outputs.emotion[0].softmax(-1), rtol=0, atol=1e-4)
        assert analysis.flags == () and analysis.duration == pytest.approx(1.2)


def test_an_analysis_has_the_flags_of_the_recording(recognizer):
    spoilt = noise(0.05)
    spoilt[:100] = 1
    spoilt[200] = np.nan
    assert recognizer.analyze(spoilt, 16_000).flags == ("clipped", "short", "not finite")
    assert recognizer.analyze(np.zeros(16_000, np.int16), 16_000).flags == ("silent",)
    assert recognizer.analyze(noise(1), 16_000).flags == ()


def test_no_recordings_have_no_analyses(recognizer):
    assert recognizer.analyze_batch([]) == []


def test_a_file_of_a_folder_that_is_listed_and_a_device_of_torch_are_taken(folders, tmp_path):
    recognizer = EmotionRecognizer.from_hparams(folders["wav2vec2-group"], run_opts={"device": torch.device("cpu")})
    assert recognizer.device == "cpu"
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000, "FLOAT")
    (listed,) = os.scandir(tmp_path)
    (window,) = recognizer.follow(listed)
    assert recognizer.analyze(listed).posteriors == recognizer.analyze(tmp_path / "a.wav").posteriors
    assert window.analysis.emotion == recognizer.analyze(listed).emotion


def test_samples_need_a_rate_and_a_file_has_one(recognizer):
    with pytest.raises(UserError, match="rate"):
        recognizer.analyze(noise(1))
    for ask in (recognizer.analyze, lambda *words: next(recognizer.follow(*words))):
        with pytest.raises(UserError, match=r"a\.wav is a file, whose header has its rate"):
            ask("a.wav", 8000)


# ---------------------------------------------------------------- long recordings


def test_a_recording_that_is_too_long_is_refused(recognizers, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.zeros(8_000 * 61), 8_000)
    soundfile.write(tmp_path / "longish.wav", np.zeros(8_000 * 4), 8_000)
    recognizer, whisper = recognizers["wav2vec2-group"], recognizers["whisper"]
    assert (recognizer.longest, whisper.longest) == (60, 3)  # the tiny Whisper reads 3 s
    asked = (
        (recognizer.analyze, "long.wav"),
        (recognizer.classify_file, "long.wav"),
        (whisper.transcribe_file, "longish.wav"),
    )
    for ask, name in asked:
        with pytest.raises(UserError, match=rf"{name}: lasts (61|4)\.0 s") as caught:
            ask(tmp_path / name)
        assert "follow" in caught.value.remedy
    with pytest.raises(UserError, match=r"lasts 61\.0 s"):
        recognizer.analyze(np.zeros(8_000 * 61), 8_000)
    assert recognizer.analyze(tmp_path / "longish.wav").flags == ("silent",)


def test_training_on_longer_recordings_allows_them(tmp_path):
    assert EmotionRecognizer.from_hparams(tiny_folders.write(tmp_path, max_seconds=80)).longest == 80


def conversation() -> np.ndarray:
    """Turns of 0.4 to 4 s with a second of silence between, 70 s at 16 kHz."""
    turns = [np.concatenate([noise(0.4 + 1.2 * (turn % 4), turn), np.zeros(16_000)]) for turn in range(25)]
    return np.concatenate(turns)[: 70 * 16_000].astype(np.float32)


@pytest.mark.parametrize("kind", ["wav2vec2-group", "whisper"])
def test_a_long_recording_is_followed_in_windows(recognizers, kind, tmp_path):
    recognizer, samples = recognizers[kind], conversation()
    soundfile.write(tmp_path / "long.wav", samples, 16_000, "FLOAT")
    windows = list(recognizer.follow(tmp_path / "long.wav"))
    assert len(windows) > 25
    times = [time for window in windows for time in (window.start, window.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 70
    for start, end, analysis in windows:
        assert 0 < end - start <= recognizer.model.max_seconds
        assert analysis.duration == pytest.approx(end - start)
        assert all(start <= word.start < word.end <= end + 1e-9 for word in analysis.words)
        alone = recognizer.analyze(samples[round(start * 16_000) : round(end * 16_000)], 16_000)
        assert close(analysis, alone)
        assert [word.start - start for word in analysis.words] == pytest.approx([word.start for word in alone.words])
    assert [window[:2] for window in recognizer.follow(samples, 16_000)] == [window[:2] for window in windows]


def test_silence_has_no_windows(recognizer):
    assert list(recognizer.follow(np.zeros(80_000), 16_000)) == []


# ---------------------------------------------------------------- in a service


def test_a_forked_worker_answers(recognizer):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # with one, OpenMP starts none
        expected = recognizer.analyze(noise(2.4, rate=44_100), 44_100)
        worker = os.fork()
        if not worker:
            signal.alarm(20)
            os._exit(not close(recognizer.analyze(noise(2.4, rate=44_100), 44_100), expected))
        assert os.waitpid(worker, 0)[1] == 0
    finally:
        torch.set_num_threads(threads)


def test_an_error_passes_from_process_to_process_and_a_recognizer_is_refused(recognizer):
    with pytest.raises(Unreadable) as raised:
        recognizer.analyze("absent.wav")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), again.what, again.remedy) == (Unreadable, raised.value.what, raised.value.remedy)
    with pytest.raises(UserError, match="cannot be pickled"):
        pickle.dumps(recognizer.analyze)  # as a pool of processes does


@pytest.mark.parametrize("copied_by", [copy.copy, copy.deepcopy])
def test_a_copy_gives_the_same(copied_by, folders):
    model = model_folder.read(folders["whisper"])
    del model.system.tasks  # as of systems without further heads
    recognizer = EmotionRecognizer(model)
    copied = copied_by(recognizer)
    assert (copied.model.system is recognizer.model.system) == (copied_by is copy.copy)
    assert copied.analyze(noise(1), 16_000) == recognizer.analyze(noise(1), 16_000)


# ---------------------------------------------------------------- SpeechBrain's contract


def test_it_is_one_of_speechbrains_interfaces(recognizers, folders):
    recognizer = EmotionRecognizer.from_hparams(source=str(folders["whisper"]), run_opts={"device": "cpu"})
    assert isinstance(recognizer, Pretrained) and recognizer.device == "cpu"
    modules = list(recognizer.mods.modules())
    assert recognizer.mods["system"] in modules and not any(module.training for module in modules)
    assert not any(weight.requires_grad for weight in recognizer.mods.parameters())
    waves, wavs, wav_lens = batch()
    outputs = recognizer(wavs, wav_lens)
    assert outputs.emotion.shape == (len(waves), len(LABELS)) and not outputs.emotion.requires_grad
    whole = recognizer.classify_batch(wavs)[0]
    torch.testing.assert_close(whole, recognizer.classify_batch(wavs, torch.ones(len(wavs)))[0])
    assert not torch.allclose(whole, recognizer.classify_batch(wavs, wav_lens)[0], atol=1e-3)
    for wrong, said in ((wavs[0], "of torch.float32"), (wavs.short(), "torch.int16"), (wavs.numpy(), "ndarray")):
        with pytest.raises(UserError, match=f"a batch is a tensor .* floats, and not .*{said}"):
            recognizer.classify_batch(wrong)
    for wrong in ([24_000, 8_000], [1.0], [1.0, 0.0], [1.0, 1.5], [1.0, torch.nan]):
        with pytest.raises(UserError, match="wav_lens are the 2 lengths relative to N"):
            recognizer(wavs[:2], torch.tensor(wrong))
    with pytest.raises(UserError, match="a batch is a tensor"):
        recognizer(wavs[:0])
    with pytest.raises(NotFinite):
        recognizer.classify_batch(wavs * torch.nan)


@pytest.mark.parametrize("kind", ["wav2vec2-group", "w2v-bert", "whisper", "ensemble"])
def test_half_precision_is_close(folders, recognizers, kind):
    half = EmotionRecognizer.from_hparams(folders[kind], run_opts={"device": "cpu", "precision": "bf16"})
    _, wavs, wav_lens = batch()
    single, result = (each(wavs, wav_lens) for each in (recognizers[kind], half))
    assert result.emotion.dtype == result.tokens.dtype == torch.float32
    assert not torch.equal(result.emotion, single.emotion)
    torch.testing.assert_close(result.emotion.softmax(-1), single.emotion.softmax(-1), rtol=0, atol=0.05)


def test_tf32_is_for_those_who_ask_for_it(folders, recognizers, tf32_switches):
    exact, rounded = (
        EmotionRecognizer.from_hparams(folders["whisper"], run_opts={"device": "cpu"} | options)
        for options in ({}, {"precision": "tf32"})
    )
    _, wavs, wav_lens = batch()
    for recognizer in (exact, rounded, exact):
        outputs = recognizer(wavs, wav_lens)
        assert set(tf32_switches().values()) == ({"tf32", True} if recognizer is rounded else {"ieee", False})
        torch.testing.assert_close(outputs.emotion, recognizers["whisper"](wavs, wav_lens).emotion)  # on a CPU
    for recognizer, precision in ((exact, "fp32"), (rounded, "tf32")):
        assert EmotionRecognizer(recognizer.model, {"device": "cpu", "precision": precision}).precision == "fp32"
        assert tf32_switches()["matmul_flag"] == (precision == "tf32")


# ---------------------------------------------------------------- where a model comes from


def test_a_yaml_is_not_read(folders, tmp_path):
    folder = shutil.copytree(folders["whisper"], tmp_path / "model")
    (folder / "hyperparams.yaml").write_text(f"x: !apply:os.system ['touch {tmp_path / 'sprung'}']\n")
    with pytest.raises(UserError, match=r"hyperparams\.yaml is not read"):
        EmotionRecognizer.from_hparams(folder, hparams_file="hyperparams.yaml")
    EmotionRecognizer.from_hparams(folder)
    assert not (tmp_path / "sprung").exists()


RESPONSE = httpx2.Response(404, request=httpx2.Request("GET", "https://hub.invalid"))


@pytest.mark.parametrize(
    "error",
    [
        errors.LocalEntryNotFoundError("no connection\nand more"),
        errors.OfflineModeIsEnabled("offline"),
        errors.RepositoryNotFoundError("404", response=RESPONSE),
        errors.GatedRepoError("403", response=RESPONSE),
        errors.HfHubHTTPError("500", response=RESPONSE),
        httpx2.ProxyError("a proxy"),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_the_hub_does_not_give(monkeypatch, error):
    def snapshot_download(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="somebody/model is neither a folder nor a model of the hub") as caught:
        EmotionRecognizer.from_hparams("somebody/model")
    assert "\n" not in caught.value.what


@pytest.mark.parametrize("name", ["/no/such/folder", "../absent", "a\0b", "x" * 5000, ""])
def test_an_impossible_name_is_not_requested_from_the_hub(name):
    with pytest.raises(UserError):
        EmotionRecognizer.from_hparams(name)


def test_a_model_of_the_hub_is_two_files(monkeypatch, folders, tmp_path):
    asked = {}

    def snapshot_download(name, local_dir, allow_patterns):
        asked.update(name=name, patterns=set(allow_patterns))
        return str(shutil.copytree(folders["whisper"], local_dir))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    recognizer = EmotionRecognizer.from_hparams("somebody/model", savedir=tmp_path / "saved")
    assert recognizer.labels == LABELS and (tmp_path / "saved" / "config.json").exists()
    assert asked == {"name": "somebody/model", "patterns": {model_folder.CONFIG, model_folder.WEIGHTS}}


def test_a_threshold_says_what_is_unsure_and_changes_no_posterior(folders, recognizers, caplog):
    plain = recognizers["whisper"].analyze(noise(0.5), 16_000)
    assert plain.unsure is plain.confidence is None
    model = replace(model_folder.read(folders["whisper"]), temperature=4.0)
    for threshold, unsure in ((0.99, True), (1 / len(LABELS) + 1e-9, False)):
        found = EmotionRecognizer(model, unsure=threshold).analyze(noise(0.5), 16_000)
        assert found.posteriors == plain.posteriors and found.unsure is unsure
        assert found.confidence < max(found.posteriors.values())
    assert "no temperature" not in caplog.text
    found = EmotionRecognizer.from_hparams(folders["whisper"], unsure="0.99").analyze(noise(0.5), 16_000)
    assert found.unsure and found.confidence == max(found.posteriors.values()) and "no temperature" in caplog.text
