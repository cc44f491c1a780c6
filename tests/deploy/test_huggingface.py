"""Folders for plain transformers: loaded where this project is not, against the systems they were made of."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import tiny_models
import torch
from safetensors.torch import load_file
from torchaudio.functional import resample
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoModelForCTC, AutoProcessor

from local.corpora import espeak
from local.deploy import huggingface
from local.encoders import load_encoder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems import Outputs
from local.systems.mtl import MultiTaskSystem
from local.text import tokenizer
from local.text.ctc import greedy_tokens, to_text
from local.text.tokenizer import Tokenizer

LABELS = ["ang", "fru", "hap", "neu", "sad", "sur"]
CHARACTERS = ["<pad>", "<unk>", "\u2581", *"ABCDEFGH'"]
TEXTS = ["ALL THAT FALLS", "A TALL TALE", "LET THE BELL TOLL", "THE \u00c6THER FELL", "TELL IT'S ALL"] * 4

# What somebody does who has transformers and no more.
STRANGER = """
import importlib.util, json, sys
import soundfile, torch, transformers
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoModelForCTC, AutoProcessor, pipeline

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
assert importlib.util.find_spec("local") is None
wav, folders = soundfile.read(sys.argv[1], dtype="float32")[0], sys.argv[2:]
results = {}
for folder in folders:
    emotion, ctc = folder + "/emotion", folder + "/ctc"
    classifier = AutoModelForAudioClassification.from_pretrained(emotion)
    extractor = AutoFeatureExtractor.from_pretrained(emotion)
    recognizer, processor = AutoModelForCTC.from_pretrained(ctc), AutoProcessor.from_pretrained(ctc)
    inputs = dict(sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        logits = recognizer(**processor(wav, **inputs)).logits
        results[folder] = {
            "emotion": classifier(**extractor(wav, **inputs)).logits[0].tolist(),
            "tokens": logits[0].tolist(),
            "decoded": processor.batch_decode(logits.argmax(-1))[0],
            "posteriors": pipeline("audio-classification", emotion)(wav, top_k=None),
            "transcript": pipeline("automatic-speech-recognition", ctc)(wav)["text"],
            "words": pipeline("automatic-speech-recognition", ctc)(wav, return_timestamps="word")["chunks"],
        }
json.dump(results, sys.stdout)
"""


class Exported(NamedTuple):
    folder: Path
    model: Model
    notes: list[str]


def model(folder: Path, family: str, tokens: list[str] = CHARACTERS, pooling: str = "mean", **changes) -> Model:
    """A system on a tiny encoder, with heads so steep that frames and utterances differ."""
    encoder = load_encoder(tiny_models.save(folder / "encoder", family, **changes))
    torch.manual_seed(2)
    system = MultiTaskSystem(encoder, len(LABELS), len(tokens), 0.1, pooling)
    for head in (system.token_head, system.emotion_head):
        torch.nn.init.normal_(head.weight, std=0.5)
    return Model(system.eval(), LABELS, tokens, [len(tokens)], max_seconds=5.0)


def says(model: Model, wav: np.ndarray) -> Outputs:
    with torch.inference_mode():
        return model.system(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))


def transcript(model: Model, outputs: Outputs) -> str:
    return to_text(greedy_tokens(outputs.tokens, outputs.n_frames)[0], model.tokens)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    samples, rate = espeak.speak("Well, I never said that she would go there.", "en-us", 175, 50, 60)
    wav = resample(torch.from_numpy(samples / 32768), rate, 16_000).float().numpy()
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, wav, 16_000, subtype="FLOAT")
    return path, wav


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    exports = {}
    for family in tiny_models.WAVEFORM:
        folder = tmp_path_factory.mktemp(family)
        made = model(folder, family, do_normalize=family != "hubert-layer")
        exports[family] = Exported(folder / "out", made, huggingface.write(folder / "out", made))
    return exports


@pytest.fixture(scope="module")
def stranger(exported, speech, tmp_path_factory) -> dict[str, dict]:
    """What each folder says of the speech in a process that cannot import this project."""
    words = [speech[0], *(each.folder for each in exported.values())]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *map(str, words)],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=variables | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    return {family: results[str(each.folder)] for family, each in exported.items()}


@pytest.mark.parametrize("family", tiny_models.WAVEFORM)
def test_transformers_alone_gives_the_logits_of_the_system(family, exported, stranger, speech):
    outputs, theirs = says(exported[family].model, speech[1]), stranger[family]
    torch.testing.assert_close(torch.tensor([theirs["emotion"]]), outputs.emotion, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor([theirs["tokens"]]), outputs.tokens, rtol=0, atol=1e-4)
    assert outputs.emotion.std() > 0.1


@pytest.mark.parametrize("family", tiny_models.WAVEFORM)
def test_pipelines_give_posteriors_by_label_and_the_transcript(family, exported, stranger, speech):
    ours, theirs = exported[family].model, stranger[family]
    outputs = says(ours, speech[1])
    expected = dict(zip(LABELS, outputs.emotion[0].softmax(-1).tolist(), strict=True))
    assert {each["label"]: each["score"] for each in theirs["posteriors"]} == pytest.approx(expected, abs=1e-4)
    text = transcript(ours, outputs)
    assert len(set(text)) > 3
    assert " ".join(theirs["transcript"].split()) == " ".join(theirs["decoded"].split()) == text
    # An unknown symbol by itself is a word of no characters to transformers.
    assert [word["text"] for word in theirs["words"] if word["text"].strip()] == text.split()


@pytest.mark.parametrize("family", tiny_models.WAVEFORM)
def test_the_note_on_batches_is_true_of_the_folder(family, exported, speech):
    folder, _, notes = exported[family]
    classifier = AutoModelForAudioClassification.from_pretrained(folder / "emotion")
    extractor = AutoFeatureExtractor.from_pretrained(folder / "emotion")
    wavs = [speech[1], speech[1][4000:9000]]
    with torch.inference_mode():
        together, *alone = (
            classifier(**extractor(batch, sampling_rate=16_000, padding=True, return_tensors="pt")).logits.softmax(-1)
            for batch in (wavs, wavs[:1], wavs[1:])
        )
    moved = (together - torch.cat(alone)).abs().max()
    if family.endswith("layer"):
        assert moved < 1e-5
        assert "the same logits as alone, to " in notes[0]
        assert float(notes[0].rsplit(" ", 1)[1].removesuffix(".")) < 1e-5
    else:
        assert moved > 1e-4
        assert ("group norm" if family.endswith("group") else "convolutions") in notes[0]
        assert float(notes[0].split("up to ")[1].split(",")[0]) > 1e-4


def test_there_are_weights_and_plain_values_and_no_code(exported):
    for folder, _, _ in exported.values():
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        both = {f"{part}/{name}" for part in ("emotion", "ctc") for name in ("config.json", "preprocessor_config.json")}
        weights = {"emotion/model.safetensors", "ctc/model.safetensors"}
        assert files.keys() == both | weights | {"ctc/vocab.json", "ctc/tokenizer_config.json"}
        values = "".join(path.read_text() for name, path in files.items() if name not in weights)
        assert "auto_map" not in values
        assert "ser_mtl" not in values
        assert len({path.stat().st_mode for path in files.values()}) == 1
        assert not [path for path in folder.iterdir() if path.name not in ("emotion", "ctc")]


def test_what_further_training_needs_is_kept(exported, tmp_path):
    name = "wav2vec2.masked_spec_embed"
    folder, made, _ = exported["wav2vec2-layer"]
    assert torch.equal(load_file(folder / "ctc/model.safetensors")[name], made.system.encoder.model.masked_spec_embed)
    assert AutoModelForCTC.from_pretrained(folder / "ctc").config.mask_time_prob > 0
    huggingface.write(tmp_path, model(tmp_path, "wav2vec2-layer", **tiny_models.STEADY))
    assert name not in load_file(tmp_path / "ctc/model.safetensors")


def test_the_configuration_describes_the_heads_whatever_the_encoders_had(tmp_path):
    settings = {"use_weighted_layer_sum": True, "pad_token_id": 3, "classifier_proj_size": 8, "num_labels": 9}
    huggingface.write(tmp_path, model(tmp_path, "hubert-group", **settings))
    emotion, ctc = (json.loads((tmp_path / part / "config.json").read_text()) for part in ("emotion", "ctc"))
    assert emotion["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
    assert emotion["label2id"] == {label: index for index, label in enumerate(LABELS)}
    assert emotion["problem_type"] == "single_label_classification"
    assert not emotion["use_weighted_layer_sum"]
    assert (ctc["vocab_size"], ctc["pad_token_id"]) == (len(CHARACTERS), 0)
    assert ctc["bos_token_id"] is ctc["eos_token_id"] is None


@pytest.mark.parametrize("kind", ["char", "unigram"])
def test_any_path_is_decoded_the_same_except_spaces_in_a_row(kind, tmp_path):
    tokenizer.train(TEXTS, tmp_path / "tokenizer.model", kind, 40)
    pieces = Tokenizer(tmp_path / "tokenizer.model").pieces
    _, note = huggingface.write(tmp_path, model(tmp_path, "wav2vec2-layer", pieces))
    assert any(piece[0] == "\u2581" and len(piece) > 1 for piece in pieces) == (kind == "unigram")
    assert ("not of words" in note) == (kind == "unigram")
    processor = AutoProcessor.from_pretrained(tmp_path / "ctc")
    logits = torch.randn(400, 12, len(pieces), generator=torch.Generator().manual_seed(1))
    logits[..., :3] += 0.5  # blanks, unknown symbols and spaces, so that all of them meet
    paths = greedy_tokens(logits, torch.full([400], 12))
    doubled = 0
    for theirs, path in zip(processor.batch_decode(logits.argmax(-1)), paths, strict=True):
        ours = to_text(path, pieces)
        if "  " in "".join(pieces[token] for token in path if token > 1).replace("\u2581", " ").strip():
            theirs, doubled = " ".join(theirs.split()), doubled + 1
        assert theirs == ours
    assert 0 < doubled < 300


def test_characters_are_encoded_as_for_training(tmp_path):
    tokenizer.train(TEXTS, tmp_path / "tokenizer.model")
    ours = Tokenizer(tmp_path / "tokenizer.model")
    huggingface.write(tmp_path, model(tmp_path, "wav2vec2-layer", ours.pieces))
    processor = AutoProcessor.from_pretrained(tmp_path / "ctc")
    random.seed(1)
    for text in {"".join(random.choices("ALT'E\u00c6 ", k=9)) for _ in range(50)}:
        text = " ".join(text.split())
        assert processor(text=text).input_ids == ours.encode(text)


def test_a_vocabulary_of_the_blank_alone_says_nothing(tmp_path, speech):
    huggingface.write(tmp_path, model(tmp_path, "hubert-group", ["<pad>"]))
    processor = AutoProcessor.from_pretrained(tmp_path / "ctc")
    recognizer = AutoModelForCTC.from_pretrained(tmp_path / "ctc")
    logits = recognizer(**processor(speech[1], sampling_rate=16_000, return_tensors="pt")).logits
    assert logits.shape[2] == 1
    assert processor.batch_decode(logits.argmax(-1)) == [""]


class Other(MultiTaskSystem):
    """A system that transformers does not know."""


def unknown_to_transformers(kind: str, folder: Path) -> Model:
    if kind == "whisper":
        return model(folder, "whisper")
    if kind == "sum":
        return model(folder, "wav2vec2-group", pooling="sum")
    made = model(folder, "wav2vec2-group")
    orders = torch.arange(len(CHARACTERS)).repeat(2, 1)
    system = Ensemble([made.system] * 2, orders) if kind == "several" else Other(made.system.encoder, 6, 12, 0.1)
    return Model(system, LABELS, CHARACTERS, [12] * 2, 5.0)


@pytest.mark.parametrize("kind", ["whisper", "sum", "several", "no such model"])
def test_where_transformers_has_no_such_model_a_note_says_why_and_old_folders_go(kind, tmp_path):
    for part in ("emotion", "ctc", "other"):
        (tmp_path / "out" / part).mkdir(parents=True)
        (tmp_path / "out" / part / "config.json").touch()
    (note,) = huggingface.write(tmp_path / "out", unknown_to_transformers(kind, tmp_path))
    assert kind in note
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]


def test_a_second_export_replaces_the_first(tmp_path):
    huggingface.write(tmp_path / "out", model(tmp_path, "wavlm-group"))
    (tmp_path / "out/emotion/old.bin").touch()
    huggingface.write(tmp_path / "out", model(tmp_path, "hubert-layer"))
    assert not (tmp_path / "out/emotion/old.bin").exists()
    assert AutoModelForCTC.from_pretrained(tmp_path / "out/ctc").config.model_type == "hubert"


def test_an_export_that_fails_leaves_the_old_folders(tmp_path, monkeypatch):
    made = model(tmp_path, "wav2vec2-layer")
    huggingface.write(tmp_path / "out", made)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(huggingface, "_save_tokenizer", full)
    with pytest.raises(OSError, match="No space"):
        huggingface.write(tmp_path / "out", made)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


# Other layers than the last


def of_layers(folder: Path, family: str, emotion: str | int, ctc: str | int) -> Model:
    """A model whose heads read these, with unequal weights where they are learned."""
    encoder = load_encoder(tiny_models.save(folder / "encoder", family))
    torch.manual_seed(2)
    system = MultiTaskSystem(encoder, len(LABELS), len(CHARACTERS), 0.1, emotion_layers=emotion, ctc_layer=ctc)
    for head in (system.token_head, system.emotion_head):
        torch.nn.init.normal_(head.weight, std=0.5)
    if system.layers.weights is not None:
        torch.nn.init.normal_(system.layers.weights)
    return Model(system.eval(), LABELS, CHARACTERS, [len(CHARACTERS)], max_seconds=5.0)


FAMILIES = ("wav2vec2-group", "hubert-layer", "wavlm-group", "data2vec-audio")
CHOICES = (("weighted", "last"), (1, 1), (0, 2), (2, "last"))
QUICK = (("wav2vec2-group", *CHOICES[0]), ("wav2vec2-group", *CHOICES[1]), ("hubert-layer", *CHOICES[2]))
EVERY = [(family, *choice) for family in FAMILIES for choice in CHOICES]


@pytest.mark.parametrize(
    ("family", "emotion", "ctc"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in EVERY],
)
def test_transformers_alone_reads_the_same_layers(family, emotion, ctc, tmp_path, speech):
    made = of_layers(tmp_path, family, emotion, ctc)
    notes = huggingface.write(tmp_path / "out", made)
    outputs, wav = says(made, speech[1]), speech[1]
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path / "out/emotion")
    inputs = AutoFeatureExtractor.from_pretrained(tmp_path / "out/emotion")(
        wav, sampling_rate=16_000, return_tensors="pt"
    )
    assert classifier.config.use_weighted_layer_sum and "layer_weights" in classifier.state_dict()
    with torch.inference_mode():
        torch.testing.assert_close(classifier(**inputs).logits, outputs.emotion, rtol=0, atol=1e-4)
        if family.endswith("layer") and ctc != "last":
            assert not (tmp_path / "out/ctc").exists()
            assert any(note.startswith("There is no folder `ctc`") and f"block {ctc}," in note for note in notes)
            return
        recognizer = AutoModelForCTC.from_pretrained(tmp_path / "out/ctc")
        assert recognizer.config.num_hidden_layers == (2 if ctc == "last" else ctc)
        torch.testing.assert_close(recognizer(**inputs).logits, outputs.tokens, rtol=0, atol=1e-4)
