"""Continuing from an exported model: the same logits before the first update, whatever order labels and tokens have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models
import torch
from tiny_models import padded, waves

from local.core.errors import UserError
from local.decode import decode
from local.deploy.gather import load_trained
from local.encoders import load_encoder, task_vectors
from local.experiment import continued
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems import Outputs
from local.systems.fine_tuning import FineTuning
from local.systems.mtl import MultiTaskSystem
from local.train import train
from local.training import heads

LABELS = ["ang", "hap", "neu"]
TOKENS = ["<pad>", "<unk>", "\u2581", "A", "B", "C"]
ATTENTIVE = {
    "class": "speechbrain.lobes.models.ECAPA_TDNN.AttentiveStatisticsPooling",
    **{"channels": 32, "attention_channels": 8, "global_context": True},
}
BATCH = padded(waves(9000, 4000))


def exported(folder: Path, kind: type = MultiTaskSystem, **settings: object) -> tuple[Path, Outputs]:
    """A model folder, and what the model makes of `BATCH`."""
    encoder = load_encoder(tiny_models.save(folder / "encoder", "wav2vec2-group"))
    torch.manual_seed(5)
    sizes = {"n_labels": len(LABELS)} | ({"n_tokens": len(TOKENS), "alpha": 0.1} if kind is MultiTaskSystem else {})
    system = kind(encoder, **sizes | settings).eval()
    tokens = TOKENS if system.writes_text else []
    model_folder.write(folder / "MODEL", Model(system, LABELS, tokens, [len(tokens)], 3.0))
    with torch.no_grad():
        return folder / "MODEL", system(*BATCH)


def continue_from(
    model: Path, labels: list[str] = LABELS, tokens: list[str] = TOKENS, **settings: object
) -> tuple[MultiTaskSystem, list[str]]:
    """A system that a training would begin with, and what is said of it."""
    torch.manual_seed(6)
    system = MultiTaskSystem(load_encoder(str(model)), len(labels), len(tokens), **{"alpha": 0.2} | settings).eval()
    return system, heads.take(system, continued.origin(str(model)), labels, tokens, "own.yaml")


def test_logits_are_the_models_before_the_first_update(tmp_path):
    model, expected = exported(tmp_path)
    system, said = continue_from(model)
    assert system(*BATCH).emotion.requires_grad and all(parameter.requires_grad for parameter in system.parameters())
    with torch.no_grad():
        outputs = system(*BATCH)
    assert torch.equal(outputs.emotion, expected.emotion) and torch.equal(outputs.tokens, expected.tokens)
    assert said == [f"continues from {model}: its encoder is taken", "emotion head taken", "CTC head taken"]


def test_a_merged_encoder_begins_as_the_models_and_its_heads_as_those_of_the_runs(tmp_path):
    model, _ = exported(tmp_path)
    torch.manual_seed(6)
    system = MultiTaskSystem(load_encoder(str(model)), len(LABELS), len(TOKENS), alpha=0.2)
    weights, before = system.encoder.model.state_dict(), system.emotion_head.weight.clone()
    task_vectors.add(system.encoder, {"ctc": weights, "emotion": weights}, 0.5)
    (said,) = heads.take(system, continued.origin(str(model)), LABELS, TOKENS, "own.yaml")
    assert said == f"the encoder begins as {model}, and the heads as those of ctc_run and emotion_run"
    assert torch.equal(system.emotion_head.weight, before)


@torch.no_grad()
def test_rows_go_where_their_labels_and_tokens_are(tmp_path):
    model, expected = exported(tmp_path)
    labels, tokens = ["neu", "ang", "hap"], ["<pad>", "<unk>", "C", "\u2581", "A"]
    system, said = continue_from(model, labels, tokens)
    outputs = system(*BATCH)
    torch.testing.assert_close(outputs.emotion, expected.emotion[:, [2, 0, 1]])
    torch.testing.assert_close(outputs.tokens, expected.tokens[..., [0, 1, 5, 2, 3]])
    assert said[1] == "emotion head taken, its labels in another order"
    assert said[2].startswith("CTC head taken, its tokens in another order, 1 of its 6 tokens")


@pytest.mark.parametrize(
    ("labels", "tokens", "anew"),
    [
        (["ang", "hap", "sad"], TOKENS, {"emotion_head"}),
        (["ang", "hap"], TOKENS, {"emotion_head"}),
        (LABELS, [*TOKENS[:-1], "Z"], {"token_head"}),
        (["sad", "fea"], [*TOKENS[:2], "Z"], {"emotion_head", "token_head"}),
    ],
)
@torch.no_grad()
def test_what_differs_starts_from_random_weights(tmp_path, labels, tokens, anew):
    model, _ = exported(tmp_path)
    torch.manual_seed(6)
    fresh = MultiTaskSystem(load_encoder(str(model)), len(labels), len(tokens), alpha=0.2).state_dict()
    system, said = continue_from(model, labels, tokens)
    same = {name.split(".")[0] for name, tensor in system.state_dict().items() if torch.equal(tensor, fresh[name])}
    assert same == {"encoder", *anew}
    assert {line.split()[0] for line in said if "starts from random weights" in line} == {
        {"emotion_head": "emotion", "token_head": "CTC"}[name] for name in anew
    }


@torch.no_grad()
def test_a_pooling_that_was_trained_goes_with_the_emotion_head(tmp_path):
    model, expected = exported(tmp_path, pooling=ATTENTIVE)
    system, said = continue_from(model, pooling=ATTENTIVE)
    torch.testing.assert_close(system(*BATCH).emotion, expected.emotion)
    assert said[1:] == ["emotion head taken", "CTC head taken"]
    system, said = continue_from(model, pooling="mean")
    assert said[1].startswith(
        "emotion head starts from random weights: the pooling of MODEL is {'class': 'speechbrain."
    )
    torch.testing.assert_close(system(*BATCH).tokens, expected.tokens)


@torch.no_grad()
def test_a_head_is_taken_where_it_reads_the_same_layers(tmp_path):
    model, expected = exported(tmp_path, emotion_layers="weighted", ctc_layer=1)
    system, said = continue_from(model, emotion_layers="weighted", ctc_layer=1)
    assert torch.equal(system(*BATCH).emotion, expected.emotion) and torch.equal(system(*BATCH).tokens, expected.tokens)
    assert said[1:] == ["emotion head taken", "CTC head taken"]
    _, said = continue_from(model, emotion_layers=1)
    random = "head starts from random weights: the"
    assert said[1] == f"emotion {random} emotion_layers of MODEL is weighted, here it is 1"
    assert said[2] == f"CTC {random} ctc_layer of MODEL is 1, here it is last"


@torch.no_grad()
def test_further_heads_are_taken_where_their_classes_are_the_same(tmp_path):
    weights = {"gender": 0.1, "valence": 0.5, "arousal": 0.0}
    model, expected = exported(tmp_path, heads=weights, head_classes={"gender": ["F", "M"]})
    given = {"heads": {"gender": 1.0, "valence": 1.0, "arousal": 1.0, "votes": 1.0}}
    votes = {"votes": ["ang", "neu"]}
    system, said = continue_from(model, **given, head_classes={"gender": ["F", "M"], **votes})
    outputs = system(*BATCH)
    assert torch.equal(outputs.further[0], expected.further[0]) and torch.equal(outputs.further[1], expected.further[1])
    assert torch.equal(outputs.emotion, expected.emotion)
    none = "starts from random weights: MODEL has none that was trained"
    assert said[1:5] == ["emotion head taken", "CTC head taken", "gender head taken", "valence head taken"]
    assert said[5:] == [f"arousal head {none}", f"votes head {none}"]
    _, said = continue_from(model, **given, head_classes={"gender": ["M", "F"], **votes})
    assert said[3] == "gender head starts from random weights: MODEL has other classes"


@torch.no_grad()
def test_a_further_head_is_taken_where_it_reads_the_same(tmp_path):
    further = {"heads": {"valence": 0.5}}
    model, expected = exported(tmp_path, emotion_layers="weighted", **further)
    system, said = continue_from(model, emotion_layers="weighted", **further)
    assert said[3] == "valence head taken" and torch.equal(system(*BATCH).further[0], expected.further[0])
    _, said = continue_from(model, **further)
    random = "valence head starts from random weights:"
    assert said[3] == f"{random} the emotion_layers of MODEL is weighted, here it is last"
    _, said = continue_from(model, labels=["a", "b"], emotion_layers="weighted", **further)
    assert said[3] == f"{random} so does layers.weights, of which it reads"


@torch.no_grad()
def test_an_emotion_head_that_was_not_trained_is_not_taken(tmp_path):
    model, _ = exported(tmp_path, emotion_weight=0.0)
    _, said = continue_from(model)
    assert "emotion_weight was 0 when MODEL was trained" in said[1] and said[2] == "CTC head taken"


@torch.no_grad()
def test_a_system_without_text(tmp_path):
    model, expected = exported(tmp_path, FineTuning)
    system = FineTuning(load_encoder(str(model)), 3).eval()
    said = heads.take(system, continued.origin(str(model)), LABELS, TOKENS, "own.yaml")
    assert said[1:] == ["emotion head taken"] and torch.equal(system(*BATCH).emotion, expected.emotion)
    with pytest.raises(UserError, match=r"is a model of the system fine_tuning, and own\.yaml builds mtl"):
        continue_from(model)


@pytest.mark.slow
def test_a_training_continues_and_its_export_says_from_what(own_corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    job = Job(parse([*own_corpus, "--folds", "1A", "--", "--epochs", "1", "--device", "cpu"]), "1A", 1)
    train(job)
    decode(job)
    first = load_trained(job.folder)
    model_folder.write(tmp_path / "MODEL", first)
    words = ["--", "--encoder", str(tmp_path / "MODEL"), "--device", "cpu", "--epochs", "1"]
    other = Job(parse([*own_corpus, "--name", "n", "--folds", "1B 1A", *words]), "1B", 1)
    assert other.training().inputs["encoder_version"]
    train(other)
    assert "emotion head taken" in caplog.text and "CTC head taken" in caplog.text
    assert first.provenance["speakers"] == ["2A", "2B"] and "OPTIMISTIC" not in caplog.text  # 1B validated it
    decode(other)
    made = load_trained(other.folder)
    assert made.provenance["before"] == [{key: first.provenance[key] for key in continued.KEPT}]
    assert made.provenance["encoder"] == "MODEL"
    third = Job(parse([*own_corpus, "--name", "n", "--folds", "2A", *words]), "2A", 1)
    train(third)
    warning = "OPTIMISTIC: MODEL was trained on own, where fold 2A tests the same speakers: 2A"
    assert warning in caplog.text
    assert json.loads((third.folder / "train.json").read_text())["facts"]["heard"] == warning
