"""The output of what is frozen, kept: what it makes of each utterance, and the same training and decoding with it."""

from __future__ import annotations

import math
import re
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_models
import torch
from tiny_models import STEADY, padded

from local.config import hparams
from local.core.errors import UserError
from local.core.threads import ALL
from local.corpora.manifest import COLUMNS
from local.data.dataset import Batch, Utterances
from local.data.feature_store import CnnStore, FrameStore, LayerStore, RowStore, kind_of_store, model_inputs
from local.data.store import AudioStore
from local.decode import decode
from local.encoders import Encoder, load_encoder
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.features import FrontEnd
from local.features.auditory import Auditory
from local.features.hidden_states import HiddenStates
from local.features.logmel import LogMel
from local.features.mfcc import KaldiMfcc
from local.scoring import predictions
from local.systems import System
from local.systems.mtl import MultiTaskSystem
from local.text.tokenizer import Tokenizer
from local.text.tokenizer import train as train_tokenizer
from local.train import train, utterances
from local.training.checkpoints import RunCheckpointer, best

SAMPLES = {"a": 9000, "b": 300, "c": 5123, "d": 7999, "e": 720}  # b is shorter than a frame
LABELS = ["ang", "neu"]
FRONT_ENDS = {"log-mel energies": LogMel, "cepstra": partial(KaldiMfcc, noise=True), "modulations": Auditory}
KINDS = ("lowest layers", "CNN", "means of states")  # of an encoder's stores
OTHERS = [pytest.param(each, marks=pytest.mark.slow) for each in [*tiny_models.WAVEFORM][1:]]
DROP_CHUNK = "speechbrain.augment.time_domain.DropChunk"


def write_audio(folder: Path, seed: int = 1) -> AudioStore:
    """The audio store of five utterances of noise, one of them with silence."""
    chance = np.random.default_rng(seed)
    for name, size in SAMPLES.items():
        wav = 0.05 + chance.uniform(-0.5, 0.5, size)
        wav[size // 2 :] *= name != "c"
        soundfile.write(folder / f"{name}.wav", wav, 16_000)
    return AudioStore.of(folder, table(), folder)


def table() -> pd.DataFrame:
    """Their table; one has no transcript."""
    rows = pd.DataFrame({"ID": list(SAMPLES), "wrd": ["A CAB", "", "BAC", "ABBA", "C"]})
    rows["duration"] = [size / 16_000 for size in SAMPLES.values()]
    rows["emo"] = [LABELS[number % 2] for number in range(5)]
    rows["wav"] = "$data_root/" + rows["ID"] + ".wav"
    return rows.reindex(columns=list(COLUMNS), fill_value="")


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> AudioStore:
    return write_audio(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> AudioStore:
    """The audio store of thirty utterances of noise, each of another length."""
    folder, chance = tmp_path_factory.mktemp("many"), np.random.default_rng(1)
    names = [f"u{number:02}" for number in range(30)]
    for number, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", chance.uniform(-0.5, 0.5, 5000 + 1111 * number), 16_000)
    rows = pd.DataFrame({"ID": names, "duration": 1.0, "wav": [f"$data_root/{name}.wav" for name in names]})
    return AudioStore.of(folder, rows.reindex(columns=list(COLUMNS), fill_value=""), folder)


def encoder_of(folder: Path, family: str = "wav2vec2-group", **changes) -> Encoder:
    """A tiny encoder whose CNN is frozen."""
    words = {"do_normalize", "seed"} & changes.keys()
    saved = tiny_models.save(folder / "encoder", family, **{word: changes.pop(word) for word in words}, **changes)
    return load_encoder(saved, freeze_cnn=True)


def batches(encoder: Encoder, audio: AudioStore, folder: Path) -> tuple[Batch, Batch]:
    """All utterances as one batch of waveforms, and as one of features."""
    train_tokenizer(table()["wrd"], folder / "tokenizer.model")
    tokenizer, stores = Tokenizer(folder / "tokenizer.model"), (audio, model_inputs(audio, System(encoder), "cpu"))
    parts = [Utterances(table(), each, LABELS, tokenizer) for each in stores]
    plain, cached = (part.collate([part[index] for index in range(5)]) for part in parts)
    assert plain.wavs.ndim == 2 and cached.wavs.ndim == 3 and cached.wavs.dtype == torch.float16
    return plain, cached


def assert_rounded(result: torch.Tensor, exact: torch.Tensor, slack: float = 0.0) -> None:
    """Within half a unit of float16's last place, or half its smallest number; and `slack`."""
    assert ((result.float() - exact).abs() <= exact.abs() * 2**-11 + 2**-25 + slack).all()


# ---------------------------------------------------------------- features


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("family", ["wav2vec2-group", "hubert-layer", "wavlm-group", "data2vec-audio"])
@torch.no_grad()
def test_features_are_the_cnns_output_rounded_to_16_bits(tmp_path, audio, family, do_normalize):
    encoder = encoder_of(tmp_path, family, do_normalize=do_normalize).train()
    store = CnnStore.of(audio, encoder, "cpu")
    assert encoder.training
    assert list(store) == list(SAMPLES)
    for name in store:
        exact, n_frames = encoder.features(*padded([audio[name]]))
        assert store[name].shape == (int(n_frames), 16)
        assert_rounded(store[name], exact[0])
    # In a batch the CNN gives the same but for the order of its sums.
    exact, n_frames = encoder.features(*padded([audio[name] for name in SAMPLES]))
    for name, row, length in zip(SAMPLES, exact, n_frames, strict=True):
        assert_rounded(store[name], row[:length], slack=1e-5)


@torch.no_grad()
def test_features_of_the_cnn_that_pass_16_bits_are_kept_in_32(tmp_path, audio):
    encoder = encoder_of(tmp_path)
    encoder.model.feature_extractor.conv_layers[-1].conv.weight *= 1e6
    store = CnnStore.of(audio, encoder, "cpu")
    for name in store:
        assert torch.equal(store[name], encoder.features(*padded([audio[name]]))[0][0])
    assert store.floats == {*store} and max(store[name].max() for name in store) > 65504


@torch.no_grad()
def test_features_that_are_not_finite_are_refused(tmp_path, audio):
    encoder = encoder_of(tmp_path)
    encoder.model.feature_extractor.conv_layers[-1].conv.weight *= torch.inf
    before = {path.name for path in audio.path.parent.iterdir()}
    with pytest.raises(UserError, match=r"utterance a: the CNN's output does not fit 32-bit floats") as error:
        CnnStore.of(audio, encoder, "cpu")
    assert "freeze_cnn" in error.value.remedy
    left = {path.name for path in audio.path.parent.iterdir()} - before
    assert all(name.endswith(".lock") for name in left)


# ---------------------------------------------------------------- one store for what is the same


def test_the_same_cnn_and_audio_share_a_store(tmp_path, audio):
    first, second = encoder_of(tmp_path / "1"), encoder_of(tmp_path / "2")
    with torch.no_grad():
        for parameter in second.model.encoder.parameters():  # the transformer may learn
            parameter += 1.0
    made = CnnStore.of(audio, first, "cpu")
    stat = made.path.stat()
    again = CnnStore.of(audio, second, "cpu")
    assert again.path == made.path and again.path.stat() == stat


@pytest.mark.parametrize("change", ["weights", "bias", "normalise", "audio"])
def test_another_cnn_or_other_audio_has_another_store(tmp_path, change):
    encoder, audio = encoder_of(tmp_path), write_audio(tmp_path)
    before = CnnStore.of(audio, encoder, "cpu")
    old = before["d"]
    with torch.no_grad():
        if change == "weights":
            encoder.model.feature_extractor.conv_layers[3].conv.weight[0, 0, 0] += 1.0
        elif change == "bias":
            encoder.model.feature_extractor.conv_layers[0].layer_norm.bias += 1.0
        elif change == "normalise":
            encoder.normalise = False
        else:
            audio = write_audio(tmp_path, seed=2)
    after = CnnStore.of(audio, encoder, "cpu")
    assert after.path != before.path and not after["d"].equal(old)
    assert before["d"].equal(old)  # a job goes on with what it began with
    assert before.path.exists() == (change != "audio")  # of which nothing is left to others


@pytest.mark.parametrize(
    ("family", "freezing", "kind"),
    [
        ("wav2vec2-group", {"freeze_cnn": True}, CnnStore),
        ("wav2vec2-group", {}, AudioStore),
        ("whisper", {"freeze_cnn": True}, AudioStore),
        ("wavlm-layer", {"freeze": True}, FrameStore),
        ("wavlm-layer", {"freeze_layers": 1}, LayerStore),
        ("wavlm-layer", {"freeze_layers": 2}, FrameStore),
        ("whisper", {"freeze": True, "freeze_cnn": True}, FrameStore),
        ("w2v-bert", {"freeze": True}, FrameStore),
    ],
)
def test_what_is_kept_of_an_encoder(tmp_path, audio, family, freezing, kind):
    encoder = load_encoder(tiny_models.save(tmp_path, family), **freezing)
    assert type(model_inputs(audio, System(encoder), "cpu")) is kind
    assert model_inputs(audio, System(), "cpu") is audio  # of a system without an encoder


# ---------------------------------------------------------------- lowest layers


@torch.no_grad()
def test_the_output_of_the_lowest_layers_is_kept_in_16_bits(tmp_path, audio):
    restless = {"hidden_dropout": 0.5, "mask_time_prob": 0.5, "mask_time_length": 2}
    encoder = load_encoder(tiny_models.save(tmp_path, "wavlm-group", **restless), freeze_layers=1).train()
    store = model_inputs(audio, System(encoder), "cpu")
    assert type(store) is LayerStore and store.path.name.startswith("layers-") and encoder.training
    hidden, n_frames = encoder.lowest(*padded([audio[name] for name in store]))
    for name, row, length in zip(store, hidden, n_frames.tolist(), strict=True):
        assert store[name].shape == (length, 32) and store[name].dtype == torch.float16
        assert_rounded(store[name], row[:length], slack=1e-5)


def with_outliers(folder: Path, audio: AudioStore) -> tuple[Encoder, dict[str, torch.Tensor]]:
    """An encoder whose lowest layer has a channel of huge values, and its output: of some utterances beyond 65,504."""
    encoder = load_encoder(tiny_models.save(folder, "wavlm-layer", num_hidden_layers=2, **STEADY), freeze_layers=1)
    with torch.no_grad():
        encoder.model.encoder.layers[0].feed_forward.output_dense.weight[5] *= 3e4
        heights = sorted(encoder.lowest(*padded([audio[name]]))[0].abs().max().item() for name in audio)
        for tensor in encoder.model.encoder.layers[0].feed_forward.output_dense.parameters():
            tensor[5] *= 65504 / (heights[2] + heights[3]) * 2
        exact = {name: encoder.lowest(*padded([audio[name]]))[0][0] for name in audio}
    return encoder, exact


def test_utterances_with_outliers_are_kept_in_32_bits_and_the_others_in_16(tmp_path, audio, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("local.core.partial.SECONDS", 0.0)
    encoder, exact = with_outliers(tmp_path, audio)
    wide = {name for name, rows in exact.items() if rows.abs().max() > 65504}
    store = model_inputs(audio, System(encoder), "cpu")
    assert type(store) is LayerStore and store.floats == wide and 0 < len(wide) < len(exact)
    assert f"of {len(wide)} of 5 utterances the lowest layers' output passes 16 bits: kept in 32" in caplog.text
    for name, rows in exact.items():
        assert store[name].dtype == torch.float32  # of all, so that a batch has one type
        assert torch.equal(store[name], rows) if name in wide else torch.equal(store[name], rows.half().float())
    assert store.path.stat().st_size == sum(rows.numel() * (2 + 2 * (name in wide)) for name, rows in exact.items())
    # One that was killed goes on with what it knows of the first, and the next job shares the store.
    whole, expected = store.path.read_bytes(), store.facts
    for path in (store.path, store.path.with_suffix(".json")):
        path.unlink()
    lowest, computed = encoder.lowest, []

    def killed(*batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(batch)
        return lowest(*batch)

    monkeypatch.setattr(encoder, "lowest", killed)
    with pytest.raises(KeyboardInterrupt):
        model_inputs(audio, System(encoder), "cpu")
    computed[:] = []
    again = model_inputs(audio, System(encoder), "cpu")
    assert len(computed) == 2 and again.path.read_bytes() == whole and again.facts == expected
    shared = model_inputs(audio, System(encoder), "cpu")
    assert len(computed) == 2 and shared.floats == wide and caplog.text.count("passes 16 bits") == 3


@torch.no_grad()
def test_outliers_reach_the_model_whole(tmp_path, audio):
    encoder, _ = with_outliers(tmp_path, audio)
    store = model_inputs(audio, System(encoder), "cpu")
    system = MultiTaskSystem(encoder, 2, 10, alpha=0.1).eval()
    for names in (list(store), [next(iter(store.floats))]):
        stored, exact = (system(*padded([each[name] for name in names])).emotion for each in (store, audio))
        torch.testing.assert_close(stored, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ("layers", True),
        ("model.encoder.layers.0.final_layer_norm.bias", True),
        ("model.feature_extractor.conv_layers.3.conv.weight", True),
        ("model.encoder.layers.1.final_layer_norm.bias", False),
        ("model.encoder.layer_norm.bias", False),  # the last, of this kind
        ("model.masked_spec_embed", False),
        ("spec_augment", False),
    ],
)
def test_what_decides_whether_two_trainings_share_the_lowest_layers(tmp_path, audio, change, is_another):
    folder = tiny_models.save(tmp_path, "wav2vec2-layer", num_hidden_layers=3)
    spec_augment = {"mask_time_prob": 0.3} if change == "spec_augment" else {}
    first = load_encoder(folder, freeze_layers=1)
    second = load_encoder(folder, freeze_layers=1 + (change == "layers"), spec_augment=spec_augment)
    with torch.no_grad():
        if change.startswith("model."):
            second.get_parameter(change).flatten()[0] += 1.0
    one, other = (LayerStore.fingerprint(audio, encoder) for encoder in (first, second))
    assert (one != other) == is_another


# ---------------------------------------------------------------- a frozen encoder


def frozen(folder: Path, family: str, **changes) -> Encoder:
    """A tiny frozen encoder, which would mask and drop a lot if it were trained."""
    if family == "wav2vec2-group":
        changes = {"mask_time_prob": 0.5, "mask_time_length": 2, "hidden_dropout": 0.5, "layerdrop": 0.5} | changes
    return load_encoder(tiny_models.save(folder / "encoder", family, **changes), freeze=True)


@pytest.mark.parametrize("family", ["wav2vec2-group", "w2v-bert", "whisper"])
@torch.no_grad()
def test_frames_are_the_frozen_encoders_and_pass_through_it(tmp_path, audio, family):
    encoder = frozen(tmp_path, family).train()
    store = model_inputs(audio, System(encoder), "cpu")
    for name in store:
        exact, n_frames = encoder(*padded([audio[name]]))  # neither dropout nor SpecAugment, though in training
        assert torch.equal(store[name], exact[0, : int(n_frames)])
    kept, n_frames = encoder(*padded([store[name] for name in store]))
    exact, n_exact = encoder(*padded([audio[name] for name in store]))
    assert torch.equal(n_frames, n_exact)
    for one, other, length in zip(kept, exact, n_frames, strict=True):
        torch.testing.assert_close(one[:length], other[:length], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changed", ["model.encoder.layers.1.final_layer_norm.bias", "model.masked_spec_embed"])
def test_another_encoder_has_another_store(tmp_path, audio, changed):
    first, second = frozen(tmp_path / "1", "wav2vec2-group"), frozen(tmp_path / "2", "wav2vec2-group")
    assert model_inputs(audio, System(first), "cpu").path == model_inputs(audio, System(second), "cpu").path
    with torch.no_grad():
        second.get_parameter(changed)[0] += 1.0
    assert model_inputs(audio, System(first), "cpu").path != model_inputs(audio, System(second), "cpu").path
    other = frozen(tmp_path / "3", "wav2vec2-group", layer_norm_eps=1e-3)  # of the same weights
    assert model_inputs(audio, System(first), "cpu").path != model_inputs(audio, System(other), "cpu").path


def test_an_utterance_too_long_for_a_frozen_encoder_is_named(tmp_path, audio):
    encoder = frozen(tmp_path, "whisper", seed=2)
    encoder.max_samples = 8000
    with pytest.raises(UserError, match=r"utterance a lasts 0\.6 s: the encoder reads 0 s"):
        model_inputs(audio, System(encoder), "cpu")


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("family", ["wav2vec2-group", "hubert-layer", "data2vec-audio"])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_and_gradients_are_those_without_it(tmp_path, audio, family, masked):
    spec_augment = {"mask_time_prob": 0.3, "mask_time_length": 5} if masked else {}
    encoder = encoder_of(tmp_path, family, **STEADY | spec_augment)
    plain, cached = batches(encoder, audio, tmp_path)
    torch.manual_seed(1)
    system = MultiTaskSystem(encoder, 2, 10, alpha=0.1).train()
    losses, gradients = [], []
    for batch in (plain, cached):
        np.random.seed(7)  # SpecAugment's
        system.zero_grad()
        outputs = system(batch.wavs, batch.lengths)
        result = system.losses(outputs, batch.targets)
        result.total.backward()
        losses.append([result.total.item(), result.ce.item(), result.ctc.item()])
        gradients.append({name: p.grad.clone() for name, p in system.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert gradients[0].keys() == gradients[1].keys()
    assert not any("feature_extractor" in name for name in gradients[1])
    scale = max(gradient.abs().max() for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert (gradients[1][name] - gradient).abs().max() < 1e-2 * scale


@torch.no_grad()
def test_spec_augment_differs_from_epoch_to_epoch(tmp_path, audio):
    encoder = encoder_of(tmp_path, **STEADY | {"mask_time_prob": 0.3, "mask_time_length": 5})
    _, cached = batches(encoder, audio, tmp_path)

    def encode(seed: int, training: bool) -> torch.Tensor:
        np.random.seed(seed)
        return encoder.train(training)(cached.wavs, cached.lengths)[0][0]

    assert torch.equal(encode(1, training=True), encode(1, training=True))
    assert not torch.equal(encode(1, training=True), encode(2, training=True))
    assert torch.equal(encode(1, training=False), encode(2, training=False))


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [("freeze_cnn", "true", "cnn-*.f16"), ("freeze", "true", "frames-*.f32"), ("freeze_layers", "2", "layers-*.f16")],
)
def test_a_job_trains_validates_and_decodes_with_one_store(own_corpus, key, value, stored):
    words = [*own_corpus, "--name", "n", "--folds", "1A", "--", "--epochs", "1", f"--{key}", value]
    words += ["--device", "cpu"]
    job = Job(parse(words), "1A", 1)
    train(job)
    decode(job)
    corpus = job.options.corpus_folder
    assert len(list(corpus.glob(stored))) == len(list(corpus.glob(f"{stored[:-4]}.json"))) == 1
    assert len(list(corpus.glob("*.json"))) == 3  # that, and those of the table and of the audio
    # The same checkpoint on waveforms.
    system = hparams.build((job.folder / "hyperparams.yaml").read_text())["system"].eval()
    RunCheckpointer(job.folder / "save", {"system": system}).recover_if_possible(importance_key=best)
    utterances = Utterances.of(
        job.manifests / "test.csv", AudioStore.of(*job.options.audio()), job.labels, job.tokenizer
    )
    batch = utterances.collate([utterances[index] for index in range(len(utterances))])
    with torch.no_grad():
        expected = system(batch.wavs, batch.lengths).emotion.softmax(-1).numpy()
    result = predictions.read(job.folder / "predictions.csv").set_index("ID").loc[batch.ids]
    posteriors = result[[f"p_{label}" for label in job.labels]].to_numpy(float)
    np.testing.assert_allclose(posteriors, expected, atol=2e-4)
    assert np.ptp(expected, axis=0).max() > 5e-3  # one utterance differs from the next by more


@pytest.mark.parametrize("line", ["freeze: True", "freeze_cnn: True", "freeze_layers: 1"])
def test_waveforms_of_what_is_kept_are_not_augmented(own_corpus, line):
    file, key = Path("hparams/mini.yaml"), line.partition(":")[0]
    file.write_text(f"augment: !new:{DROP_CHUNK}\n" + re.sub(rf"(?m)^{key}: .*", line, file.read_text()))
    job = Job(parse([*own_corpus, "--folds", "1A"]), "1A", 1)
    with pytest.raises(UserError, match="augment: what does not learn is computed once"):
        utterances(job, hparams.build(job.yaml))
    assert not [*job.options.corpus_folder.glob("*.f*")]


@pytest.mark.parametrize(("augment", "kind"), [("", RowStore), (f"augment: !new:{DROP_CHUNK}\n", AudioStore)])
def test_rows_of_a_front_end_are_not_stored_for_waveforms_that_are_augmented(own_corpus, augment, kind):
    own_corpus[own_corpus.index("--hparams") + 1] = "own.yaml"
    Path("own.yaml").write_text(augment + Path("hparams/statistics.yaml").read_text())
    job = Job(parse([*own_corpus, "--folds", "1A"]), "1A", 1)
    training, validation = utterances(job, hparams.build(job.yaml))
    assert type(training.audio) is type(validation.audio) is kind
    assert len([*job.options.corpus_folder.glob("features-*.f32")]) == (kind is RowStore)


# ---------------------------------------------------------------- a front end


class Pairs(FrontEnd):
    """Mean and largest of every hundred samples."""

    width, seconds_per_row = 2, 100 / 16_000

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("shift", torch.zeros(1))

    def rows(self, wav: torch.Tensor) -> torch.Tensor:
        parts = self.scale * torch.nn.functional.pad(wav, (0, -len(wav) % 100)).view(-1, 100) + self.shift
        return torch.stack([parts.mean(1), parts.amax(1)], dim=1)

    def settings(self) -> dict:
        return {"scale": self.scale}


def test_rows_of_a_front_end_are_kept_and_pass_through_it(audio):
    front_end = Pairs()
    store = model_inputs(audio, System(front_end=front_end), "cpu")
    batch, lengths = padded([audio[name] for name in store])
    rows, n_rows = front_end(batch, lengths)
    for name, one, length in zip(store, rows, n_rows.tolist(), strict=True):
        assert torch.equal(store[name], front_end.rows(audio[name]))
        assert torch.equal(store[name], one[:length])
    kept, n_kept = front_end(*padded([store[name] for name in store]))
    assert torch.equal(n_kept, n_rows)
    assert all(torch.equal(one[:n], other[:n]) for one, other, n in zip(kept, rows, n_rows, strict=True))


class Meeting:
    """Lets so many calls wait for each other, then none: without it one thread may have done all before others begin.

    Gives the thread.
    """

    def __init__(self, count: int) -> None:
        self.left, self.barrier = iter(range(count)), threading.Barrier(count)

    def __call__(self) -> int:
        if next(self.left, None) is not None:
            self.barrier.wait(60)
        return threading.get_ident()


@pytest.mark.parametrize("kind", [*("wav2vec2-group", "w2v-bert", "whisper"), *OTHERS, *KINDS, *FRONT_ENDS])
def test_the_bytes_do_not_depend_on_how_many_utterances_are_computed_at_a_time(tmp_path, many, monkeypatch, kind):
    family = kind if kind in tiny_models.FAMILIES else "wavlm-layer"
    freezing = {"lowest layers": {"freeze_layers": 1}, "CNN": {"freeze_cnn": True}}.get(kind, {"freeze": True})
    encoder = load_encoder(tiny_models.save(tmp_path, family), **freezing)
    system = System(encoder, HiddenStates(encoder.eval())) if kind == "means of states" else System(encoder)
    system = System(front_end=FRONT_ENDS[kind]()) if kind in FRONT_ENDS else system
    store, threads, contents = kind_of_store(system), set(), []
    compute, before, interval = store.compute, torch.get_num_threads(), sys.getswitchinterval()

    def noted(*arguments: object) -> torch.Tensor:
        threads.add((meeting(), torch.get_num_threads()))
        return compute(*arguments)

    monkeypatch.setattr(store, "compute", noted)
    sys.setswitchinterval(1e-5)  # threads take turns in the midst of an utterance
    for cores in (1, before + 3):
        threads.clear()
        meeting = Meeting(max(cores, before))
        monkeypatch.setenv(ALL, str(cores))
        path = model_inputs(many, system, "cpu").path
        contents += [(path.read_bytes(), path.with_suffix(".json").read_bytes())]
        path.with_suffix(".json").unlink()
        assert [count for _, count in threads] == [1] * max(cores, before) and torch.get_num_threads() == before
    sys.setswitchinterval(interval)
    assert contents[0] == contents[1] and contents[0][0]


def test_no_more_are_computed_at_a_time_than_memory_allows(audio, monkeypatch):
    class Counting(Pairs):
        def rows(self, wav: torch.Tensor) -> torch.Tensor:
            threads.add(meeting())
            return super().rows(wav)

    monkeypatch.setenv(ALL, "8")
    for free, expected, scale in ((5e9, 2, 6.0), (1e9, 1, 7.0)):
        threads: set[int] = set()
        meeting = Meeting(expected)
        monkeypatch.setattr("local.data.feature_store.room", lambda _, free=free: SimpleNamespace(free=free))
        model_inputs(audio, System(front_end=Counting(scale=scale)), "cpu")
        assert len(threads) == expected
    assert threads == {threading.get_ident()}


def test_how_far_they_are_is_told(audio):
    told, system = [], System(front_end=Pairs(scale=5.0))
    model_inputs(audio, system, "cpu", lambda *now: told.append(now))
    assert [now[:2] for now in told] == [(0, 5), *((done, 5) for done in range(2, 6))]
    assert told[0][2] == math.inf and all(math.isfinite(left) for *_, left in told[1:]) and told[-1][2] == 0
    told.clear()
    model_inputs(audio, system, "cpu", lambda *now: told.append(now))
    assert [now[:2] for now in told] == [(0, 5)]
    assert model_inputs(audio, System(), "cpu", pytest.fail) is audio  # waveforms are not waited for


def test_another_front_end_has_another_store(audio):
    def path(front_end: FrontEnd) -> Path:
        return model_inputs(audio, System(front_end=front_end), "cpu").path

    weights, version = Pairs(), Pairs()
    weights.shift += 1.0
    version.version = 2
    assert path(Pairs()) == path(Pairs())
    assert len({path(each) for each in (Pairs(), Pairs(scale=2.0), weights, version)}) == 4


def test_stores_of_earlier_versions_are_found():
    class Audio:
        fingerprint = "0123456789abcdef"

    assert RowStore.fingerprint(Audio, LogMel(80)) == "df7b7d422e1c40db"
    limited = LogMel(80)
    limited.most_samples = 16_000
    assert RowStore.fingerprint(Audio, limited) != "df7b7d422e1c40db"


def test_rows_that_are_not_finite_are_refused_by_their_utterance(audio):
    with pytest.raises(UserError, match="the front end's output does not fit 32-bit floats") as refusal:
        model_inputs(audio, System(front_end=Pairs(scale=float("inf"))), "cpu")
    assert refusal.value.what.startswith(f"utterance {next(iter(audio))}: ") and "freeze" not in refusal.value.remedy


def test_a_store_whose_job_was_killed_is_continued_with_the_same_bytes(audio, monkeypatch):
    monkeypatch.setattr("local.core.partial.SECONDS", 0.0)
    whole = model_inputs(audio, System(front_end=Pairs(scale=3.0)), "cpu")
    expected = whole.path.read_bytes()
    for path in (whole.path, whole.path.with_suffix(".json")):
        path.unlink()

    class Killed(Pairs):
        def rows(self, wav):
            if len(heard) == 2:
                raise KeyboardInterrupt
            heard.append(len(wav))
            return super().rows(wav)

    heard: list[int] = []
    Killed.__module__, Killed.__qualname__ = Pairs.__module__, Pairs.__qualname__  # the same, by its fingerprint
    front_end = Killed(scale=3.0)
    with pytest.raises(KeyboardInterrupt):
        model_inputs(audio, System(front_end=front_end), "cpu")
    assert not whole.path.exists()
    heard[:] = [0] * 3
    again = model_inputs(audio, System(front_end=front_end), "cpu")
    assert heard[3:] == list(SAMPLES.values())[2:]  # those that were not done
    assert again.path == whole.path and again.path.read_bytes() == expected and again.facts == whole.facts
    assert not list(whole.path.parent.glob("*.part*"))
