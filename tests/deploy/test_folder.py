"""Exports: the checkpoint that was decoded, means of checkpoints and of folds, and OUT whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hand_made_runs
import numpy as np
import pytest
import soundfile
import tiny_folders
import tiny_models
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCTC,
)
from written_experiments import write_experiment

from local import export as command
from local import launch
from local.audio import recordings
from local.config import hparams
from local.core import logs
from local.core.errors import UserError
from local.corpora import espeak, manifest
from local.deploy import folder, huggingface, onnx
from local.deploy.gather import load_ensemble, load_trained
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.inference import model_folder
from local.inference.recognizer import EmotionRecognizer
from local.prepare import prepare
from local.scoring.calibration import Temperature
from local.training import environment
from local.training.checkpoints import RunCheckpointer

SCORES = {1: 0.5, 2: 0.9, 3: 0.4}  # UA of each epoch
ENCODER = {
    "model_type": "wav2vec2",
    "do_normalize": True,
    **tiny_models.SIZE,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture
def runs(workplace, own_table):
    """Make run folders that look as if folds had been trained for three epochs; of each its weights by epoch."""

    def made(*folds: str, **overrides: str) -> dict[Path, dict[int, dict[str, torch.Tensor]]]:
        words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n", "--"]
        yaml = (workplace / "hparams" / "mini.yaml").read_text()
        start, end = yaml.index("encoder:"), yaml.index("freeze:")
        (workplace / "hparams" / "mini.yaml").write_text(f"{yaml[:start]}encoder: {json.dumps(ENCODER)}\n{yaml[end:]}")
        words += [word for name, value in overrides.items() for word in (f"--{name}", value)]
        prepare(parse(words))
        make_folds(parse(words))
        return {job.folder: weights for job, weights in (trained_by_hand(words, fold) for fold in folds)}

    return made


def trained_by_hand(words: list[str], fold: str):
    job = hand_made_runs.predict(words, fold, wrong=1, lost=1)
    described = environment.describe(job, "cpu", "fp32") | {"commit": "0123456789ab"}
    (job.folder / "env.json").write_text(json.dumps(described))
    weights = {}
    for epoch, score in SCORES.items():
        torch.manual_seed(100 * epoch + ord(fold[0]) + ord(fold[1]))
        system = hparams.build(job.yaml)["system"]
        checkpointer = RunCheckpointer(job.folder / "save", {"system": system})
        checkpointer.save_and_keep({"epoch": epoch, "ua": score, "wer": 0.5}, last=len(SCORES))
        weights[epoch] = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    return job, weights


def equal(system: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    weights = system.state_dict()
    return weights.keys() == expected.keys() and all(
        torch.allclose(weights[name].cpu(), expected[name], rtol=0, atol=1e-6) for name in weights
    )


# ---------------------------------------------------------------- what is exported


def test_the_checkpoint_that_was_decoded(runs, workplace):
    ((run, weights),) = runs("1A").items()
    model = load_trained(run)
    assert equal(model.system, weights[2]) and not equal(model.system, weights[3])
    assert not model.system.training
    assert model.labels == ["ang", "hap", "sad"]
    assert model.tokens[:2] == ["<pad>", "<unk>"] and model.sizes == [len(model.tokens)]
    assert set(model.tokens[2:]) == {"\u2581", *"WELLTHENNOTATALLSOBEITHOWODDZIGZAG"}
    folder = workplace / "manifests" / "own" / "speaker" / "1A"
    assert model.max_seconds == manifest.read(folder / "train.csv")["duration"].max()
    expected = {"corpus": "own", "protocol": "speaker", "name": "n", "seed": 1, "folds": ["1A"], "epochs": [2]}
    assert expected.items() <= model.provenance.items()
    assert (model.provenance["averaged"], model.provenance["commit"]) == (1, "0123456789ab")
    assert model.provenance["encoder"] is None


@pytest.mark.parametrize(("average", "epochs"), [(2, (2, 3)), (3, (1, 2, 3))])
def test_a_mean_of_the_latest_checkpoints(runs, average, epochs):
    ((run, weights),) = runs("1A").items()
    mean = {name: sum(weights[epoch][name] for epoch in epochs) / average for name in weights[1]}
    assert equal(load_trained(run, average).system, mean)


def test_an_older_checkpoint_is_none_of_the_latest(runs):
    (run,) = runs("1A")
    middle = RunCheckpointer(run / "save").find_checkpoint(ckpt_predicate=lambda each: each.meta["epoch"] == 2)
    shutil.rmtree(middle.path)
    with pytest.raises(UserError, match="holds 1 of the 2 latest checkpoints"):
        load_trained(run, 2)


def test_an_ensemble_of_folds_is_the_mean_of_their_posteriors_token_by_token(runs):
    folders = list(runs("1A", "2B"))  # only 2B says a Z, which its own fold does not train on
    models, together = [load_trained(run) for run in folders], load_ensemble(folders)
    assert "Z" in models[0].tokens and "Z" not in models[1].tokens
    assert set(together.tokens) == set(models[0].tokens) and together.sizes == [len(model.tokens) for model in models]
    wavs, lengths = tiny_models.padded(tiny_models.waves(8000, 5000))
    outputs, output = [model.system(wavs, lengths) for model in models], together.system(wavs, lengths)
    emotion = sum(output.emotion.softmax(-1) for output in outputs) / 2
    torch.testing.assert_close(output.emotion.softmax(-1), emotion, rtol=0, atol=1e-6)
    for column, token in enumerate(together.tokens):
        share = sum(
            output.tokens.softmax(-1)[..., model.tokens.index(token)]
            for output, model in zip(outputs, models, strict=True)
            if token in model.tokens
        )
        torch.testing.assert_close(output.tokens.softmax(-1)[..., column], share / 2, rtol=0, atol=1e-6)
    assert (together.provenance["folds"], together.provenance["epochs"]) == (["1A", "2B"], [2, 2])


def test_pieces_of_words_are_not_averaged_where_they_differ(runs):
    folders = list(runs("1A", "2B", token_type="unigram", vocab_size="25"))
    with pytest.raises(UserError, match="different tokens"):
        load_ensemble(folders)


def test_what_is_no_trained_run(runs, tmp_path):
    (run,) = runs("1A")
    with pytest.raises(UserError, match="holds 3 of the 4 latest checkpoints"):
        load_trained(run, 4)
    with pytest.raises(UserError, match="absent is missing"):
        load_trained(tmp_path / "absent")
    with pytest.raises(UserError, match="not a run folder"):
        load_trained(run.parent)
    (run / "train.json").unlink()
    with pytest.raises(UserError, match="its training has not ended"):
        load_trained(run)


def test_an_ensemble_is_of_all_folds_that_were_begun_and_of_more_than_one(runs, tmp_path):
    first, second = runs("1A", "1B")
    (second / "train.json").rename(second / "begun.json")
    with pytest.raises(UserError, match="the training of 1B has not ended"):
        folder.export(first.parent, tmp_path / "out", of_folds=True)
    shutil.rmtree(second)
    with pytest.raises(UserError, match="1A is its only fold"):
        folder.export(first.parent, tmp_path / "out", of_folds=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("of_folds", [True, False])
def test_a_run_that_the_card_needs_is_missed_before_models_are_loaded(tmp_path, monkeypatch, of_folds):
    sizes = dict.fromkeys(["01F", "01M", "02F"], 1)
    seed = write_experiment(tmp_path, "iemocap/speaker/n", sizes=sizes, n_epochs=1) / "seed1"
    shutil.rmtree(seed / "02F")
    monkeypatch.setattr(folder, "refuse_optimistic", lambda _: None)
    for name in ("load_trained", "load_ensemble"):
        monkeypatch.setattr(folder, name, lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match=r"02F/epochs\.csv is missing"):
        folder.export(seed if of_folds else seed / "01F", tmp_path / "out", of_folds=of_folds)


# ---------------------------------------------------------------- the command


@pytest.fixture
def export(monkeypatch, capsys):
    """Run the command without ONNX, which takes long: exit code and stderr."""
    monkeypatch.setattr(onnx, "write", lambda path, model: [])
    monkeypatch.setattr(logs, "log_to_stderr", lambda: None)  # which would keep this test's stderr

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["export", *map(str, words)])
        try:
            command.main()
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def test_an_export_is_used_without_its_run(runs, export, workplace, tmp_path):
    (run,) = runs("1A")
    expected = load_trained(run)
    assert export(run, tmp_path / "out") == (0, "")
    shutil.rmtree(workplace / "results")
    shutil.rmtree(workplace / "manifests")
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "out")
    assert equal(recognizer.model.system, expected.system.state_dict())
    wav = torch.from_numpy(tiny_folders.noise(0.5))
    posteriors = expected.system(wav[None], torch.tensor([len(wav)])).emotion[0].softmax(-1)
    assert list(recognizer.analyze(wav, 16_000).posteriors.values()) == pytest.approx(posteriors.tolist(), abs=1e-5)
    assert recognizer.model.provenance == expected.provenance
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\n")
    assert not list(tmp_path.glob(".*"))


def test_an_ensemble_is_asked_for_by_its_seed(runs, export, tmp_path):
    folders = list(runs("1A", "2B"))
    assert export(folders[0].parent, tmp_path / "out", "--ensemble") == (0, "")
    assert len(EmotionRecognizer.from_hparams(tmp_path / "out").model.members) == 2
    assert export(tmp_path, tmp_path / "none", "--ensemble")[0] == 2


def test_an_experiment_is_taken_where_its_meaning_is_plain(runs, export, monkeypatch, tmp_path):
    (run,) = runs("1A")
    asked = []
    monkeypatch.setattr("local.deploy.folder.export", lambda *given: asked.append(given[0]))
    for given in (run, run.parent, run.parents[1]):
        assert export(given, tmp_path / "out")[0] == export(given, tmp_path / "out", "--ensemble")[0] == 0
    assert asked == [run, run.parent] * 3
    shutil.copytree(run, run.with_name("2B"))
    code, err = export(run.parents[1], tmp_path / "out")
    assert code == 2 and "or the folder of a seed with --ensemble:" in err
    assert err.splitlines()[2:] == [f"    {run}", f"    {run.with_name('2B')}"]
    assert export(run.parents[1], tmp_path / "out", "--ensemble")[0] == 0 and asked[-1] == run.parent
    assert f"try: give {run.parent}\n" in export(run, tmp_path / "out", "--ensemble")[1]


def test_nothing_is_written_over_unasked(runs, export, tmp_path):
    (run,) = runs("1A")
    out = tmp_path / "out"
    out.mkdir()
    assert export(run, out)[0] == 0  # an empty folder is taken
    before = (out / "model.safetensors").read_bytes()
    assert "exists" in export(run, out, "--average", 2)[1]
    assert (out / "model.safetensors").read_bytes() == before
    assert export(run, out, "--average", 2, "--force") == (0, "")
    assert (out / "model.safetensors").read_bytes() != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    (tmp_path / "file").write_text("mine too")
    for standing in ("mine", "file"):
        code, err = export(run, tmp_path / standing, "--force")
        assert code == 2 and "is no export" in err
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"thesis.tex"}


def test_an_export_that_fails_leaves_what_was_there(runs, export, monkeypatch, tmp_path):
    (run,) = runs("1A")
    assert export(run, tmp_path / "old") == (0, "")
    before = sorted(path.name for path in (tmp_path / "old").iterdir())
    there = set(tmp_path.iterdir())

    def broken(*_):
        raise UserError("the disk is full", "make room")

    monkeypatch.setattr(huggingface, "write", broken)
    assert export(run, tmp_path / "old", "--force")[0] == export(run, tmp_path / "new")[0] == 2
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == before
    assert set(tmp_path.iterdir()) == there


# ---------------------------------------------------------------- nothing left out: all four forms, and 8 bits


def speech(top: Path) -> list[Path]:
    """Recordings of people below the folder `SER_MTL_SPEECH`, where it is set, else of synthetic voices."""
    if "SER_MTL_SPEECH" in os.environ:
        return [path for path in sorted(Path(os.environ["SER_MTL_SPEECH"]).rglob("*")) if path.is_file()][::100][:20]
    paths = []
    for text, voice in (("Well, I never said that she would go there.", "en-us"), ("No!", "en-us+f2")):
        samples, rate = espeak.speak(text, voice, 175, 50, 60)
        paths.append(top / f"{len(paths)}.wav")
        soundfile.write(paths[-1], samples, rate)
    return paths


def plain(folder: Path, wav: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits from config.json and model.safetensors with transformers and two products."""
    config, weights = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    encoder = AutoModel.from_config(AutoConfig.for_model(**config["encoder"])).eval()
    encoder.load_state_dict(
        {name.removeprefix("encoder.model."): w for name, w in weights.items() if "_head." not in name}
    )
    frames = encoder(((wav - wav.mean()) / torch.sqrt(wav.var(correction=0) + 1e-7))[None]).last_hidden_state
    emotion, tokens = (
        (of @ weights[f"{head}.weight"].T + weights[f"{head}.bias"])
        for head, of in (("emotion_head", frames.mean(1)), ("token_head", frames))
    )
    return emotion, tokens


@pytest.mark.slow
@torch.no_grad()
def test_the_four_forms_of_an_export_say_the_same_of_speech(runs, tmp_path):
    (run,) = runs("1A")
    out = tmp_path / "out"
    folder.export(run, out, int8=True)
    recognizer = EmotionRecognizer.from_hparams(out, run_opts={"device": "cpu"})
    classifier = AutoModelForAudioClassification.from_pretrained(out / "emotion")
    extractor = AutoFeatureExtractor.from_pretrained(out / "emotion")
    recognizer = AutoModelForCTC.from_pretrained(out / "ctc")
    runner, coarse = (onnx.Runner(out / name, threads=1) for name in ("model.onnx", "model.int8.onnx"))
    paths = speech(tmp_path)
    assert len(paths) > 1
    for path in paths:
        wav = recordings.read(path).wav
        expected = recognizer(wav[None])
        inputs = extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
        graph = runner(wav[None].numpy(), np.array([len(wav)]))
        others = [
            plain(out, wav),
            (classifier(**inputs).logits, recognizer(**inputs).logits),
            (torch.from_numpy(graph["emotion"]), torch.from_numpy(graph["tokens"])),
        ]
        for emotion, tokens in others:
            torch.testing.assert_close(emotion, expected.emotion, rtol=0, atol=1e-4)
            torch.testing.assert_close(tokens, expected.tokens, rtol=0, atol=1e-4)
        rough = torch.from_numpy(coarse(wav[None].numpy(), np.array([len(wav)]))["emotion"])
        assert 0 < (rough.softmax(-1) - expected.emotion.softmax(-1)).abs().max() < 0.1
    card = (out / "README.md").read_text()
    assert re.search(
        r"With 8 bits, on 12 utterances of fold 1A's test set: .* the same emotion; UA is .* instead of", card
    )


def test_an_ensembles_card_has_no_ua_of_utterances_that_its_members_learned(runs, tmp_path, monkeypatch):
    figures = {"n": 12, "agreement": 1.0, "largest_difference": 0.01, "speed": 1.0, "speed_int8": 2.0}
    figures |= {"ua": 0.25, "ua_int8": 0.75}
    # The file of an ensemble is tried in test_onnx.py; an export takes half a minute.
    monkeypatch.setattr(onnx, "write", lambda path, model: path.touch() or [])
    monkeypatch.setattr(onnx, "quantize", lambda path, out: None)
    monkeypatch.setattr(onnx, "cost", lambda *files, threads: figures)
    run = next(iter(runs("1A", "2B")))
    folder.export(run.parent, tmp_path / "out", of_folds=True, int8=True)
    note = (tmp_path / "out" / "README.md").read_text().split("With 8 bits, ")[1].splitlines()[0]
    assert "get the same emotion; a posterior changes" in note and "UA" not in note
    assert f"{torch.get_num_threads()} thread" in note and ", 1 threads" not in note


def test_stage_6_exports_what_is_not_exported(runs, export, capsys, monkeypatch):
    ((run, _),) = runs("1A").items()

    def in_this_process(command: list) -> subprocess.CompletedProcess:  # where ONNX is left out
        assert command[:3] == [sys.executable, "-m", "local.export"]
        return subprocess.CompletedProcess(command, export(*command[3:])[0])

    monkeypatch.setattr(subprocess, "run", in_this_process)
    job, messages = Job.of_run(run), []
    capsys.readouterr()
    for _ in range(2):
        launch.export(job)
        messages.append(capsys.readouterr().out.strip())
    assert messages == [f"{run / 'model'}", f"{run / 'model'} is exported already"]
    weights = (run / "model" / "model.safetensors").read_bytes()
    (run / "model" / "model.safetensors").write_bytes(b"spoilt")
    launch.export(job)
    assert (run / "model" / "model.safetensors").read_bytes() == weights
    marker = json.loads((run / "model.json").read_text())
    marker["inputs"].pop("temperature")  # as earlier versions wrote it
    (run / "model.json").write_text(json.dumps(marker))
    Temperature(2.0, 10, 1.0, 0.9, "partner", 2).write(run)
    capsys.readouterr()
    launch.export(job)
    assert capsys.readouterr().out.strip() == f"{run / 'model'} is exported already"
    (run / "model.json").write_text(json.dumps(marker | {"inputs": marker["inputs"] | {"temperature": ""}}))
    launch.export(job)  # stage 3 has run since
    assert capsys.readouterr().out.strip() == f"{run / 'model'}"
    assert model_folder.read(run / "model").temperature == 2.0
    retrained = json.loads((run / "train.json").read_text())
    retrained["facts"]["epoch"] = 3
    (run / "train.json").write_text(json.dumps(retrained))
    capsys.readouterr()
    launch.export(job)
    assert capsys.readouterr().out.strip() == f"{run / 'model'}"


@pytest.mark.parametrize("words", [[], ["run"], ["run", "out", "--average", "0"], ["run", "out", "--average", "two"]])
def test_a_mistake_in_the_command(export, words):
    code, err = export(*words)
    assert code == 2 and len(err.splitlines()) == 2


def test_folds_of_one_training_are_one_model_of_an_ensemble(tmp_path, monkeypatch):
    taken = []
    for fold, job in (("test1", {}), ("test2", {"trained_as": "test1"})):
        (tmp_path / "seed1" / fold).mkdir(parents=True)
        (tmp_path / "seed1" / fold / "train.json").touch()
        (tmp_path / "seed1" / fold / "env.json").write_text(json.dumps({"commit": "", "job": job}))
    monkeypatch.setattr(folder, "refuse_optimistic", lambda _: None)
    monkeypatch.setattr(folder, "load_trained", lambda run, _: taken.append(run.name))
    monkeypatch.setattr(folder, "_write", lambda out, *_: out.mkdir())
    folder.export(tmp_path / "seed1", tmp_path / "out", of_folds=True)
    assert taken == ["test1"]
