"""Speaker pretraining: the margin by hand, four speakers told apart, and a run of it as the start of the emotions."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch
from paths import REPOSITORY
from stages import run_stages
from system_checks import RATE, assert_alone_as_in_a_batch, learns_eight, sounds, targets

from local.config.hparams import plain_values
from local.core import markers
from local.core.errors import UserError
from local.core.markers import Marker
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.systems import Outputs
from local.systems.layers import speaker_nets
from local.systems.pappagari_xvector import XVectorSystem
from local.systems.speaker_xvector import SpeakerSystem


def system(**values) -> SpeakerSystem:
    torch.manual_seed(1)
    return SpeakerSystem(4, **values).eval()


def test_the_loss_is_the_formula_of_the_margin():
    made, cosines = system(margin=0.3, scale=20.0), torch.tensor([[0.6, -0.2, 0.5, 0.1], [0.9, -0.98, 0.0, 0.3]])
    speakers, expected = [0, 1], []
    for row, speaker in zip(cosines.tolist(), speakers, strict=True):
        angle = math.acos(row[speaker])
        # Beyond pi the cosine would rise again: there the margin is taken from the cosine itself.
        moved = math.cos(angle + 0.3) if angle + 0.3 < math.pi else row[speaker] - 0.3 * math.sin(0.3)
        logits = [20 * (moved if index == speaker else value) for index, value in enumerate(row)]
        expected.append(math.log(sum(map(math.exp, logits))) - logits[speaker])
    found = made.losses(Outputs(20 * cosines, further=(cosines,)), targets(torch.tensor(speakers)))
    assert found.total.item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    with pytest.raises(UserError, match="margin is 2"):
        system(margin=2.0)


@torch.no_grad()
def test_logits_are_cosines_to_a_direction_for_each_speaker():
    made = system()
    rows, n_rows = torch.randn(2, 16, 23), torch.tensor([16, 8])
    made.emotion_head.weight[3] *= 7.0
    found, inner = made(rows, n_rows).emotion, made.norm(made.embeddings(rows, n_rows)).relu().double()
    for index, direction in enumerate(made.emotion_head.weight.double()):
        expected = (inner * direction).sum(1) / inner.norm(dim=1) / direction.norm()
        torch.testing.assert_close(found[:, index].double(), 30 * expected, rtol=0, atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made(rows, n_rows).emotion.dtype == torch.float32


@pytest.mark.slow
def test_an_utterance_has_the_same_logits_alone_and_in_a_batch():
    made = system(scale=1.0)
    for module in made.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(0.3)
    assert_alone_as_in_a_batch(made, sounds(1.0, 2.0, 0.1, 0.01))


@pytest.mark.slow
def test_four_speakers_are_told_apart():
    assert learns_eight(system()) <= 400


def test_a_run_goes_into_the_emotions_row_by_tensor_and_shape(tmp_path):
    """Its folder as the pipeline leaves it: train.json names the checkpoint that was chosen."""
    first, run = system(), tmp_path / "seed1" / "A"
    chosen = run / "save" / "CKPT+2" / "CKPT.yaml"
    chosen.parent.mkdir(parents=True)
    chosen.touch()
    torch.save(first.state_dict(), chosen.with_name("system.ckpt"))
    marker = Marker(run / "train.json", {"pool": "attention", "sample_rate": 16_000})
    marker.write([chosen], corpus="voices", speakers=["A", "B", "C"])
    assert speaker_nets.read(str(run))[0] == "resnet34"
    torch.manual_seed(2)
    second = XVectorSystem(7, speaker_net=str(run))
    assert second.weights == "3 speakers of voices" and second.emotion_head.out_features == 7
    for module in ("net", "norm"):
        given, taken = (getattr(each, module).state_dict() for each in (first, second))
        assert given.keys() == taken.keys() and all(map(torch.equal, given.values(), taken.values()))
    with pytest.raises(UserError, match="was trained with pool attention, and here it is lde"):
        XVectorSystem(7, speaker_net=str(run), pool="lde")
    other = {"net.embedding.bias": torch.zeros(3)}
    torch.save(first.state_dict() | other, chosen.with_name("system.ckpt"))
    with pytest.raises(UserError, match=r"net\.embedding\.bias of .* is \[3\] instead of \[512\]"):
        XVectorSystem(7, speaker_net=str(run))


# A run of the pipeline on a table of four speakers


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder that is the current one, with voices.csv: sixteen sounds of four speakers, each with a pitch."""
    folder = tmp_path_factory.mktemp("voices")
    rows = []
    for number, wav in enumerate(sounds(*(0.5 + 0.02 * number for number in range(16)))):
        soundfile.write(folder / f"u{number:02}.wav", wav.numpy(), RATE)
        emotion = ("ang", "sad")[number // 4 % 2]
        rows.append({"wav": f"u{number:02}.wav", "emo": emotion, "spk_id": "ABCD"[number % 4]})
    pd.DataFrame(rows).to_csv(folder / "voices.csv", index=False)
    shutil.copytree(REPOSITORY / "hparams", folder / "hparams")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def words(*more: str, yaml: str = "hparams/pretraining/speaker_xvector.yaml", **values) -> list[str]:
    small = {"epochs": 1, "batch_size": 4, "device": "cpu"} | values
    overrides = [f"--{key}={value}" for key, value in small.items()]
    return ["--corpus", "csv", "--data", "voices.csv", "--hparams", yaml, *more, "--", *overrides]


@pytest.mark.slow
def test_each_fold_begins_with_the_run_on_its_own_training_speakers(place):
    """All of it by the stages: the speakers' run of fold A hears B, C and D; fold A of the emotions begins with it."""
    run_stages(words("--valid", "utterances", "--folds", "A"), "prepare", "folds", "check", "train")
    run = place / "results/voices/speaker/speaker_xvector/seed1/A"
    facts = markers.read(run / "train.json")["facts"]
    assert (facts["corpus"], facts["speakers"]) == ("voices", ["B", "C", "D"])
    with pytest.raises(UserError, match="tells speakers apart and not emotions"):
        Job.all(parse(words("--valid", "utterances", "--folds", "A")))[0].is_done("decode")
    with pytest.raises(UserError, match="speaker 'B' of the validation set is not in the training set") as error:
        run_stages(words("--folds", "A"), "folds")
        Job.all(parse(words("--folds", "A")))
    assert "--valid utterances" in error.value.remedy
    emotions = "hparams/table3/pappagari_xvector.yaml"
    for net in (run.parents[1], run.parent, run):
        (job,) = Job.all(parse(words("--folds", "A", yaml=emotions, speaker_net=net)))
        assert plain_values(job.yaml)["speaker_net"] == str(run) and not job.refuse_tested_speakers()
        inputs = job.training().inputs
        assert inputs["speaker_net"] == str(net) and ("speaker_net_of_fold" in inputs) == (net != run)
    given = words("--folds", "A", yaml=emotions, speaker_net=run.parents[1])
    run_stages(given, "check", "train", "decode", "score")
    lines = (place / "results/voices/speaker/pappagari_xvector/RESULTS.md").read_text().splitlines()
    assert "| pretraining | 3 speakers of voices |" in lines
    with pytest.raises(UserError, match=r"was trained on speakers that fold B tests.*: B"):
        Job.all(parse(words("--folds", "B", yaml=emotions, speaker_net=run)))[0].begin()
