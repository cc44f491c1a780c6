"""Models of transformers and exported ones over files: the posteriors of transformers' own pipeline, and failures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_folders
import tiny_models
import torch
from transformers import AutoModelForAudioClassification, pipeline

from local.core import partial
from local.core.errors import UserError
from local.core.typed_csv import read_csv
from local.deploy import huggingface
from local.inference import model_folder
from local.inference.foreign_model import Classifier, Exported, Output, load, write_predictions

LABELS = ["angry", "calm", "happy"]


def classifier(folder: Path, family: str = "wav2vec2-group", **changes) -> Path:
    """A folder of a tiny model for audio-classification with random weights."""
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    config = tiny_models.config(family, **names, classifier_proj_size=8, **changes)
    torch.manual_seed(1)
    model = AutoModelForAudioClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tiny_models.extractor(family).save_pretrained(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three recordings of other lengths, rates and channels, one that is no audio, one too short, one missing."""
    paths = [tmp_path / name for name in ("a.wav", "b.flac", "c.wav", "text.wav", "short.wav", "none.wav")]
    soundfile.write(paths[0], tiny_folders.noise(1.0), 16_000)
    soundfile.write(paths[1], np.stack([tiny_folders.noise(0.6, 2, 44_100)] * 2, axis=1), 44_100)
    soundfile.write(paths[2], tiny_folders.noise(2.0, 3, 8000), 8000)
    paths[3].write_text("no audio")
    soundfile.write(paths[4], np.zeros(20), 16_000)
    return [str(path) for path in paths]


@pytest.mark.parametrize("family", ["wav2vec2-group", pytest.param("wavlm-layer", marks=pytest.mark.slow), "whisper"])
def test_posteriors_are_those_of_transformers_pipeline(tmp_path, files, family):
    folder = classifier(tmp_path / "model", family)
    model = load(str(folder), "cpu")
    assert isinstance(model, Classifier) and model.labels == LABELS
    assert model.longest == (tiny_models.WHISPER_SECONDS if family == "whisper" else np.inf)
    outputs = list(model.outputs([files[0], files[0], *files[3:]]))
    expected = pipeline("audio-classification", str(folder), device="cpu", top_k=None)(soundfile.read(files[0])[0])
    for output in outputs[:2]:
        assert sum(output.posteriors.values()) == pytest.approx(1)
        assert output.posteriors == pytest.approx({each["label"]: each["score"] for each in expected}, abs=1e-6)
    assert all(output.error and not output.posteriors for output in (outputs[2], outputs[4]))
    assert outputs[3].error.startswith("the model fails: ") == (family != "whisper")  # which pads what is short


def test_a_file_is_the_same_among_others_and_failures_have_their_line(tmp_path, files):
    model = load(str(classifier(tmp_path / "model")), "cpu")
    table = predictions_table(model, list("abcdef"), files, tmp_path)
    assert list(table) == ["ID", "emo_hyp", "p_angry", "p_calm", "p_happy", "error"]
    alone = predictions_table(model, ["c"], files[2:3], tmp_path)
    assert table.iloc[2].tolist() == alone.iloc[0].tolist()
    assert table["emo_hyp"].eq("").tolist() == table["error"].ne("").tolist() == [False] * 3 + [True] * 3
    assert table["p_calm"].isna().tolist() == [False] * 3 + [True] * 3
    with pytest.raises(UserError, match="gives nothing for any of 1 files"):
        predictions_table(model, ["d"], files[3:4], tmp_path)


def test_an_exported_model_is_used_as_local_predict_does(tmp_path, files):
    folder = tiny_folders.write(tmp_path)
    model = load(str(folder), "cpu")
    assert isinstance(model, Exported) and model.labels == tiny_folders.LABELS
    table = predictions_table(model, list("abd"), [*files[:2], files[3]], tmp_path)
    for row, path in zip(table.to_dict("records"), files[:2], strict=False):
        own = model.analyzer.analyze(path)
        assert (row["emo_hyp"], row["wrd_hyp"], row["error"]) == (own.emotion, own.transcript, "")
        assert {name: row[f"p_{name}"] for name in own.posteriors} == pytest.approx(own.posteriors, abs=1e-5)
    assert table["wrd_hyp"][0] and table["error"][2]
    # Its folder for plain transformers says the same.
    huggingface.write(folder, model_folder.read(folder))
    plain = predictions_table(load(str(folder / "emotion"), "cpu"), ["a"], files[:1], tmp_path)
    assert plain.filter(like="p_").iloc[0].tolist() == pytest.approx(table.filter(like="p_").iloc[0].tolist(), abs=1e-4)


def predictions_table(model, names: list[str], files: list[str], folder: Path) -> pd.DataFrame:
    path = folder / "predictions.csv"
    write_predictions(model, dict(zip(names, files, strict=True)), path)
    partial.forget(path)
    return read_csv(path, ["p_angry", "p_calm", "p_happy", *(f"p_{label}" for label in tiny_folders.LABELS)])


def change(folder: Path, file: str, **values) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_models_that_would_give_nonsense_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = classifier(tmp_path / "model")
    path = folder / "model.safetensors"
    whole = load_file(path)
    save_file({name: one for name, one in whole.items() if "classifier" not in name}, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"lack classifier\.bias, classifier\.weight: .* random numbers"):
        load(str(folder), "cpu")
    save_file(whole, path, {"format": "pt"})
    for file, values, said in (
        ("config.json", {"problem_type": "regression"}, "numbers and not classes"),
        ("config.json", {"problem_type": None, "id2label": {"0": "a", "1": "a", "2": "b"}}, "a label twice"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "takes 8,000 Hz"),
        ("config.json", {"model_type": "unheard-of"}, "cannot be loaded"),
    ):
        change(folder, file, **values)
        with pytest.raises(UserError, match=said):
            load(str(folder), "cpu")
    with pytest.raises(UserError, match="device 'x' is not known"):
        load(str(folder), "x")


def test_an_output_that_is_not_finite_is_a_failure(tmp_path, files):
    model = load(str(classifier(tmp_path / "model")), "cpu")
    model.model.classifier.bias.data.fill_(float("nan"))
    (output,) = model.outputs(files[:1])
    assert output.error == "the model's output is not finite" and output.posteriors == {}


class Steps:
    """A model that is interrupted at a file; it remembers which it was given."""

    labels, writes_text = ["x", "y"], True

    def __init__(self, stop: str = "") -> None:
        self.stop, self.given = stop, []

    def outputs(self, files):
        for file in files:
            if file == self.stop:
                raise KeyboardInterrupt
            self.given.append(file)
            fails = file == "f3"
            yield Output(file, {} if fails else {"x": 0.75, "y": 0.25}, 'a "b"', "no, it" if fails else "")


def test_an_interrupted_run_goes_on_after_the_last_utterance(tmp_path):
    files, path = {f"u{i}": f"f{i}" for i in range(6)}, tmp_path / "p.csv"
    write_predictions(Steps(), files, whole := tmp_path / "whole.csv")
    with pytest.raises(KeyboardInterrupt):
        write_predictions(Steps("f4"), files, path)
    assert not path.exists()
    model = Steps()
    write_predictions(model, files, path)
    assert model.given == ["f4", "f5"] and path.read_bytes() == whole.read_bytes()
    lines = path.read_text().splitlines()
    assert lines[:2] == ["ID,emo_hyp,p_x,p_y,wrd_hyp,error", 'u0,x,0.75000000,0.25000000,"a ""b""",']
    assert lines[4] == 'u3,,,,"a ""b""","no, it"'
    write_predictions(model, files, path)  # it is whole, and nobody has learnt of it
    assert model.given == ["f4", "f5"] and path.read_bytes() == whole.read_bytes()
    with pytest.raises(UserError, match="gives nothing for any of 1 files; one of them: no, it"):
        write_predictions(model, {"u": "f3"}, tmp_path / "none.csv")
