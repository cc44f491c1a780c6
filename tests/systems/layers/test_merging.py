"""Merging two runs into a multi-task system: the heads that it begins with, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch

from local.core.errors import UserError
from local.core.markers import Marker
from local.encoders import load_encoder
from local.systems.mtl import MultiTaskSystem


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("models") / "tiny", "wav2vec2-group")


def system(folder: str, seed: int, n_labels: int = 3, **values) -> MultiTaskSystem:
    torch.manual_seed(seed)
    return MultiTaskSystem(load_encoder(folder), n_labels, 5, 0.1, **values)


def run(place: Path, made: MultiTaskSystem) -> str:
    """The folder of a run that has ended with the weights of a system."""
    chosen = place / "save" / "CKPT+1" / "CKPT.yaml"
    chosen.parent.mkdir(parents=True)
    chosen.touch()
    torch.save(made.state_dict(), chosen.with_name("system.ckpt"))
    Marker(place / "train.json", {}).write([chosen])
    return str(place)


def test_each_head_begins_as_that_of_its_own_run(folder, tmp_path):
    several = {"emotion_layers": "weighted", "heads": {"gender": 1.0}, "head_classes": {"gender": ["F", "M"]}}
    ctc, emotion = system(folder, 1, emotion_layers="weighted"), system(folder, 2, **several)
    emotion.layers.weights.data += torch.tensor([0.0, 1.0, 2.0])
    with torch.no_grad():
        for parameter in ctc.encoder.parameters():
            parameter += 0.1
    runs = {"ctc": run(tmp_path / "ctc", ctc), "emotion": run(tmp_path / "emotion", emotion)}
    merged = system(folder, 3, **several, merged=runs | {"start": 0.25})
    assert torch.equal(merged.token_head.weight, ctc.token_head.weight)
    for name in ("emotion_head.weight", "emotion_head.bias", "layers.weights", "further_heads.gender.weight"):
        assert torch.equal(merged.state_dict()[name], emotion.state_dict()[name]), name
    assert merged.learned()["coefficients"] == {t: dict.fromkeys(("front", "1", "2"), 0.25) for t in ("ctc", "emotion")}
    name = "encoder.layers.1.attention.k_proj.weight"
    found = merged.encoder.task_vectors.merged(merged.encoder.model)[name]
    torch.testing.assert_close(found, merged.encoder.model.get_parameter(name) + 0.25 * 0.1)
    learns = {name for name, parameter in merged.named_parameters() if parameter.requires_grad}
    assert {name for name in learns if name.startswith("encoder.")} == {"encoder.task_vectors.coefficients"}
    heads = {id(p) for module in merged.heads() for p in module.parameters()}
    assert {id(p) for p in merged.parameters() if p.requires_grad} <= heads
    assert "merged" not in merged.settings()
    other = system(folder, 3, heads={"valence": 1.0}, emotion_layers="weighted", merged=runs | {"start": 0.25})
    assert other.further_heads["valence"].linear.weight.isfinite().all()  # of neither run: random


def test_without_runs_it_is_the_plain_system(folder):
    made = system(folder, 1, merged={"ctc": None, "emotion": None, "start": 0.5})
    assert made.encoder.task_vectors is None and made.learned() == {}
    assert made.state_dict().keys() == system(folder, 1).state_dict().keys()
    assert all(map(torch.equal, made.state_dict().values(), system(folder, 1).state_dict().values()))


def test_what_is_no_pair_of_runs_of_this_system_is_refused(folder, tmp_path):
    own, other = run(tmp_path / "own", system(folder, 1)), run(tmp_path / "other", system(folder, 1, n_labels=4))
    for ctc, emotion, why in (
        (own, None, "ctc_run is given and emotion_run is not"),
        (None, own, "emotion_run is given and ctc_run is not"),
        (own, str(tmp_path), "emotion_run: .* is no folder of a run whose training has ended"),
        (own, other, r"emotion_run: its emotion_head.weight is \[4, 32\], here it is \[3, 32\]"),
    ):
        with pytest.raises(UserError, match=why):
            system(folder, 2, merged={"ctc": ctc, "emotion": emotion, "start": 0.5})
    file = tmp_path / "own" / "save" / "CKPT+1" / "system.ckpt"
    file.write_bytes(file.read_bytes()[:9999])
    with pytest.raises(UserError, match=r"ctc_run: .*system\.ckpt cannot be read"):
        system(folder, 2, merged={"ctc": own, "emotion": own, "start": 0.5})
