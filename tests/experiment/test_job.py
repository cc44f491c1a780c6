"""How a run folder is begun, resumed, overwritten and refused; also one that the earlier version began."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from earlier_runs import to_earlier_form

from local.config import hparams
from local.core import markers
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.command_line import parse
from local.experiment.job import Job, begun_inputs, options_of_run
from local.folds import make_folds
from local.prepare import prepare


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    """Options after stages 0 and 1."""
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n"]
    prepare(parse(words))
    make_folds(parse(words))
    return words


def job(words: list[str], *more: str) -> Job:
    return Job(parse([*words, *more]), "1A", 1)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(params=["this version", "the earlier version"])
def begun(request, words) -> Job:
    """A job whose folder was begun, with a checkpoint."""
    begun = job(words)
    begun.begin()
    (begun.folder / "save" / "CKPT+1").mkdir(parents=True)
    (begun.folder / "save" / "CKPT+1" / "CKPT.yaml").touch()
    if request.param == "the earlier version":
        to_earlier_form(begun.folder)
    return begun


def test_a_run_folder_is_begun_with_its_inputs_and_the_plain_yaml(words):
    new = job(words)
    assert begun_inputs(new.folder) is None
    new.begin()
    assert contents(new.folder).keys() == {"begun.json", "hyperparams.yaml"}
    assert (new.folder / "hyperparams.yaml").read_text() == new.yaml
    inputs = markers.read(new.folder / "begun.json")["inputs"]
    values = hparams.plain_values(new.yaml)
    assert inputs == begun_inputs(new.folder) == {
        **{name: inputs[name] for name in ("train.csv", "valid.csv", "tokenizer.model")},
        **{key: value for key, value in values.items() if key not in (*hparams.RUNTIME, *hparams.NEWER)},
    }  # fmt: skip


def test_a_run_folder_of_before_the_newer_keys_is_resumed(words):
    """Its YAML named no optimizer, and begun.json none of the keys."""
    new = job(words)
    inputs = new.beginning().inputs
    assert not inputs.keys() & hparams.NEWER.keys()
    changed = job(words, "--", "--patience", "3")
    assert changed.beginning().changes(inputs) == ["patience (None -> 3)"]
    assert new.training().inputs.keys() == inputs.keys() - {"seed", "n_labels", "n_tokens"} | {"valid"}


def test_with_the_same_inputs_it_is_resumed(begun, words):
    old = begun_inputs(begun.folder)
    (begun.folder / "epochs.csv").write_text("epoch\n1\n")
    again = job(words, "--", "--device", "cpu")  # another device is not another experiment
    again.begin()
    assert (begun.folder / "epochs.csv").exists() and begun_inputs(begun.folder) == old
    assert (begun.folder / "hyperparams.yaml").read_text() == again.yaml


def test_other_values_are_refused_by_name(begun, words):
    before = contents(begun.folder)
    with pytest.raises(UserError, match=r"1A was begun with other inputs: lr \(0\.003 -> 0\.5\)") as refusal:
        job(words, "--", "--lr", "0.5", "--head-lr", "0.003").begin()
    with pytest.raises(UserError, match="was begun with other inputs: lr"):  # before any job starts
        job(words, "--", "--lr", "0.5", "--head-lr", "0.003").is_done("train")
    assert "--name" in refusal.value.remedy and "--force true" in refusal.value.remedy
    assert contents(begun.folder) == before


def test_overrides_that_are_not_those_of_the_training_are_refused_by_what_decodes(words):
    trained = job(words, "--", "--lr", "0.5")
    trained.begin()
    trained.training().write()
    trained.decoding().write()
    runtime = ["--eval-batch-seconds", "7", "--device", "cpu", "--eval-precision", "bf16"]
    for given in ([], ["--lr", "0.5"], runtime):
        assert job(words, "--", *given).is_done("decode")
    for step in ("decode", "stress"):
        with pytest.raises(UserError, match=r"1A was trained with other .*: lr \(0\.5 -> 0\.7\)$") as refusal:
            job([*words, "--force", "true", "--stress", "gain"], "--", "--lr", "0.7", *runtime).is_done(step)
    assert "stage 2" in refusal.value.remedy


def test_without_a_checkpoint_other_values_begin_it_again(begun, words):
    """A typo was corrected: the name is not blocked by a training that has learnt nothing."""
    (begun.folder / "save" / "CKPT+1" / "CKPT.yaml").unlink()  # it was not finished
    for name in ("epochs.csv", "train.log"):
        (begun.folder / name).write_text("of before")
    corrected = job(words, "--", "--lr", "0.5")
    assert not corrected.is_done("train") and (begun.folder / "epochs.csv").exists()
    corrected.begin()
    assert contents(begun.folder).keys() == {"begun.json", "hyperparams.yaml", "train.log"}
    assert not (begun.folder / "save").exists()
    assert begun_inputs(begun.folder)["lr"] == 0.5 and not corrected.starts_over()


def test_a_training_that_has_ended_blocks_its_name_though_its_checkpoints_were_deleted(begun, words):
    begun.training().write()
    (begun.folder / "save" / "CKPT+1" / "CKPT.yaml").unlink()
    with pytest.raises(UserError, match="was begun with other inputs: lr"):
        job(words, "--", "--lr", "0.5").begin()


@pytest.mark.parametrize("name", ["train.csv", "valid.csv", "tokenizer.model"])
def test_other_manifests_are_refused_by_name(begun, words, name):
    before = contents(begun.folder)
    old = begun_inputs(begun.folder)[name]
    if name == "valid.csv":
        (begun.manifests / name).unlink()
    elif name == "train.csv":
        (begun.manifests / name).write_text((begun.manifests / name).read_text() + "\n")
    else:
        (begun.manifests / name).write_bytes((begun.manifests.with_name("2B") / name).read_bytes())
    with pytest.raises(UserError, match=rf"begun with other inputs: {name} \({old} -> "):
        job(words).begin()
    assert contents(begun.folder) == before


def test_an_encoder_whose_weights_have_changed_is_refused(words, tmp_path):
    (tmp_path / "encoder").mkdir()
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.write_bytes(b"one")
    words = [*words, "--name", "pretrained", "--", "--encoder", str(tmp_path / "encoder")]
    first = job(words)
    first.begin()
    first.training().write()
    version = begun_inputs(first.folder)["encoder_version"]
    assert job(words).is_done("train")
    weights.write_bytes(b"other")
    for use in (job(words).begin, lambda: job(words).is_done("train")):
        with pytest.raises(UserError, match=rf"with other inputs: encoder_version \({version} -> [0-9a-f]{{16}}\)$"):
            use()

    for name in ("begun.json", "train.json"):  # as an earlier version left them
        marker = json.loads((first.folder / name).read_text())
        del marker["inputs"]["encoder_version"]
        (first.folder / name).write_text(json.dumps(marker))
    assert job(words).is_done("train")
    job(words).begin()


def test_an_encoder_that_has_gone_since_the_training_is_named_and_not_looked_for_on_the_hub(words, tmp_path):
    (tmp_path / "an encoder").mkdir()
    (tmp_path / "an encoder" / "model.safetensors").write_bytes(b"one")
    words = [*words, "--name", "pretrained", "--", "--encoder", str(tmp_path / "an encoder")]
    first = job(words)
    first.begin()
    first.training().write()
    (tmp_path / "an encoder").rename(tmp_path / "moved")
    gone = r"/1A was trained with encoder .*an encoder, and that is not there"
    for use in (first, job([*words[:-1], str(tmp_path / "moved")])):
        with pytest.raises(UserError, match=gone) as error:
            use.built()
    # What it advises is to be copied.
    subprocess.run(
        error.value.remedy.rpartition(": ")[2].replace("PATH", str(tmp_path / "moved")), shell=True, check=True
    )
    with pytest.raises(UserError, match="cannot be loaded"):  # for it is none; but it is looked at
        first.built()


def test_by_force_it_is_overwritten(begun, words):
    for name in ("epochs.csv", "train.json", "predictions.csv", "train.log"):
        (begun.folder / name).touch()
    (begun.folder / "save" / "CKPT").mkdir(parents=True)
    forced = job(words, "--force", "true", "--", "--lr", "0.5")
    forced.begin()
    assert contents(begun.folder).keys() == {"begun.json", "hyperparams.yaml", "train.log"}
    assert begun_inputs(begun.folder)["lr"] == 0.5 and not (begun.folder / "save").exists()


def test_killed_between_its_two_files_it_is_begun_again(words):
    new = job(words)
    new.begin()
    (new.folder / "hyperparams.yaml").unlink()
    job(words).begin()
    assert (new.folder / "hyperparams.yaml").read_text() == new.yaml


def test_a_yaml_that_does_not_say_on_what_it_was_trained_is_refused(words):
    new = job(words)
    new.begin()
    (new.folder / "begun.json").unlink()
    (new.folder / "train.json").touch()
    with pytest.raises(UserError, match=r"other inputs: train\.csv \(None -> "):
        new.begin()


def test_a_damaged_begun_json_is_refused(words):
    new = job(words)
    new.begin()
    (new.folder / "begun.json").write_text(json.dumps({"inputs": 1}))
    with pytest.raises(UserError, match=r"begun\.json is damaged"):
        new.begin()


def test_what_raters_say_does_not_make_a_run_outdated(words):
    begun = job(words)
    begun.begin()
    (begun.folder / "save" / "CKPT+1").mkdir(parents=True)
    (begun.folder / "save" / "CKPT+1" / "CKPT.yaml").touch()
    begun.training().write()
    old = begun.training().inputs
    for path in (begun.manifests / "train.csv", begun.manifests / "valid.csv"):
        manifest.write(path, manifest.read(path).assign(votes="ang 1", arousal="2.5"))
    again = job(words)
    assert again.training().inputs == old and again.is_done("train") and not again.starts_over()
    table = manifest.read(begun.manifests / "train.csv")
    manifest.write(begun.manifests / "train.csv", table[1:])
    with pytest.raises(UserError, match=r"made with other inputs: train.csv \("):
        job(words).is_done("train")


def test_extra_training_is_asked_for_again(words):
    made = job([*words[:-2], "--name", "n"])
    run = made.folder
    told = {"corpus": "own", "protocol": "speaker", "valid": "none", "hold_text": False, "fold": "1A", "seed": 1}
    assert not any(word.startswith("--extra") for word in options_of_run(run, told | {"name": "n"}))
    assert "--extra-training=all-turns" in options_of_run(run, told | {"name": "n", "extra_training": "all-turns"})
