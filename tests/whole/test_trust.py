"""What comes from elsewhere runs nothing: each test sets a trap that a hole would spring, and looks whether it did.

Here encoders, model folders, YAMLs and run folders.
"""

from __future__ import annotations

import json
import pickle
import pydoc
from collections.abc import Callable
from pathlib import Path

import hand_made_runs
import pytest
import tiny_folders
import tiny_models
import torch
from hyperpyyaml import load_hyperpyyaml
from traps import Payload, springs

from local.config import hparams, trust
from local.config.trust import refuse_foreign
from local.core.errors import UserError
from local.decode import decode
from local.deploy.gather import load_trained
from local.encoders import load_encoder
from local.experiment.job import Job
from local.inference import model_folder
from local.rerun import check_job, read_finished
from local.training import environment
from local.training.checkpoints import RunCheckpointer

pytestmark = pytest.mark.usefixtures("every_lock_by_itself")


# ---------------------------------------------------------------- encoders from elsewhere


@pytest.fixture
def encoder(tmp_path) -> Path:
    """A sound encoder."""
    return Path(tiny_models.save(tmp_path / "encoder", "wav2vec2-group"))


@pytest.mark.parametrize("kind", ["plain pickle", "old format of torch", "new format of torch"])
def test_an_encoders_pickle_runs_nothing(encoder, trap, kind):
    weights = encoder / "pytorch_model.bin"
    (encoder / "model.safetensors").unlink()
    if kind == "plain pickle":
        weights.write_bytes(pickle.dumps(Payload(trap), protocol=2))
        springs(trap, lambda: pickle.loads(weights.read_bytes()))
    else:
        torch.save({"a": Payload(trap)}, weights, _use_new_zipfile_serialization=kind.startswith("new"))
        springs(trap, lambda: torch.load(weights, weights_only=False))
    with pytest.raises(UserError, match="a pickle that holds more than weights"):
        load_encoder(str(encoder))


CODE = """
from pathlib import Path
from transformers import *
Path({trap!r}).touch()
class Config(Wav2Vec2Config): model_type = "evil"
class Model(Wav2Vec2Model): pass
class Extractor(Wav2Vec2FeatureExtractor): pass
"""
AUTO = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoFeatureExtractor": "evil.Extractor"}


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "evil"}),
        ("preprocessor_config.json", {"feature_extractor_type": "Extractor"}),
    ],
)
def test_an_encoders_code_is_not_run_and_no_question_is_asked(encoder, trap, monkeypatch, file, values):
    (encoder / "evil.py").write_text(CODE.format(trap=str(trap)))
    change(encoder / file, auto_map=AUTO, **values)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="custom code"):
        load_encoder(str(encoder))


def test_an_encoder_of_a_known_kind_is_loaded_without_the_code_beside_it(encoder, trap, monkeypatch):
    (encoder / "evil.py").write_text(CODE.format(trap=str(trap)))
    for file in ("config.json", "preprocessor_config.json"):
        change(encoder / file, auto_map=AUTO)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert load_encoder(str(encoder)).model.config.model_type == "wav2vec2"


# ---------------------------------------------------------------- model folders from elsewhere


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("encoder", "auto_map", AUTO),
        ("encoder", "_attn_implementation", "evil/kernel"),
        ("encoder", "_name_or_path", "evil/model"),
        ("preprocessor", "auto_map", AUTO),
        (None, "system", "evil"),
        (None, "system", "../../evil"),
        (None, "system", "importlib"),
        (None, "trust_remote_code", True),
    ],
)
def test_a_model_folder_has_a_closed_list_of_keys(tmp_path, trap, monkeypatch, part, key, value):
    folder = tiny_folders.write(tmp_path)
    for place in (folder, tmp_path):
        (place / "evil.py").write_text(CODE.format(trap=str(trap)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (config if part is None else config[part])[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError):
        model_folder.read(folder)


# ---------------------------------------------------------------- YAML: overrides, run folders

TAGS = [
    "!apply:pathlib.Path.touch [!new:pathlib.Path ['{trap}']]",
    "!applyref:os.mknod ['{trap}']",
    "!new:subprocess.Popen [[touch, '{trap}']]",
    "!!python/object/apply:os.mknod ['{trap}']",
    "!<tag:yaml.org,2002:python/object/apply:os.mknod> ['{trap}']",
    "[{{deep: [!apply:os.mknod ['{trap}']]}}]",
    "!apply:local.core.files.os.mknod ['{trap}']",
    "!apply:local.systems.importlib.import_module [sprung]",
    "!name:os.mknod\n        path: '{trap}'",
    "!include:beside.yaml",
]


@pytest.fixture
def paper(workplace) -> Path:
    """A YAML of ours."""
    return workplace / "hparams" / "mtl_wav2vec2.yaml"


@pytest.mark.parametrize("form", ["{tag}", "({tag})"])
@pytest.mark.parametrize("tag", TAGS[:5])
def test_an_override_is_a_value_and_never_a_tag(paper, trap, form, tag):
    with pytest.raises(UserError, match="begins with neither"):
        hparams.parse_overrides(["--encoder", form.format(tag=tag.format(trap=trap))], paper)


@pytest.mark.parametrize(
    "value", ["a (b)", "<lr>", "a{a: !apply:os.getpid []}", "a # b", "&a", "*a", "[a", "%", "a: b"]
)
def test_an_override_comes_through_the_yaml_as_it_is(paper, value):
    text = hparams.resolve(paper, hparams.parse_overrides([f"--encoder={value}"], paper))
    assert hparams.build(text.partition("\nsystem:")[0])["encoder"] == value


def test_a_tuple_holds_plain_values(trap):
    """HyperPyYAML takes any value in brackets for a tuple, an override too, and reads it with an unsafe loader."""
    yaml = f"a: (!!python/object/apply:os.mknod ['{trap}'])"
    springs(trap, lambda: load_hyperpyyaml(yaml))
    with pytest.raises(UserError, match="no tuple of plain values"):
        hparams.build(yaml)
    with pytest.raises(UserError, match="no tuple of plain values"):
        hparams.build("a: !tuple [1, 2]")
    assert hparams.build("a: (1, b, [2])") == {"a": (1, "b", [2])}


@pytest.fixture
def job(own_corpus) -> Job:
    """One whose run folder looks as if it had been trained and decoded."""
    job = hand_made_runs.predict([*own_corpus, "--name", "n"], "1A")
    (job.folder / "env.json").write_text(json.dumps(environment.describe(job, "cpu", "fp32")))
    return job


@pytest.fixture
def run(job) -> Path:
    """Its run folder."""
    return job.folder


@pytest.fixture
def evil(run, trap, tmp_path, monkeypatch) -> Callable[[str], str]:
    """A line of YAML with a tag that would spring the trap, and what it needs for that."""
    (tmp_path / "sprung.py").write_text(f"open({str(trap)!r}, 'w')")
    (run / "beside.yaml").write_text(f"a: !apply:os.mknod ['{trap}']\n")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda tag: f"\nevil: {tag.format(trap=trap)}\n"


def add(run: Path, line: str) -> None:
    with open(run / "hyperparams.yaml", "a") as yaml:
        yaml.write(line)


@pytest.mark.parametrize("tag", TAGS)
def test_the_tags_of_these_tests_are_traps(run, trap, evil, tag):
    """What is refused below does run in a YAML of the user's own."""
    file = run / "evil.yaml"
    file.write_text(evil(tag))

    def build() -> None:
        made = hparams.build(hparams.resolve(file, {}))["evil"]
        if tag.startswith("!new"):
            made.wait()
        if tag.startswith("!name"):
            made()

    springs(trap, build)


@pytest.mark.parametrize("tag", TAGS)
def test_a_run_folders_yaml_builds_nothing_foreign(job, run, trap, evil, tag):
    add(run, evil(tag))
    uses = [
        lambda: read_finished(run),
        lambda: load_trained(run),
        lambda: (run / "decode.json").unlink() or decode(job),
    ]
    for use in uses:
        with pytest.raises(UserError, match="is no system or encoder of this project"):
            use()
        assert not trap.exists()


def test_a_sound_run_folder_is_read(run):
    assert Job.of_run(run).fold == "1A"
    assert read_finished(run)[0]["job"]["fold"] == "1A"


@pytest.mark.parametrize("fold", ["../../../../elsewhere", "/elsewhere", "1A/../1A", "$(touch sprung)"])
def test_a_run_folder_does_not_say_where_to_write(run, fold):
    told = json.loads((run / "env.json").read_text())
    told["job"]["fold"] = fold
    (run / "env.json").write_text(json.dumps(told))
    for use in (lambda: Job.of_run(run), lambda: check_job(run, *read_finished(run))):
        with pytest.raises(UserError, match="has no fold"):
            use()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job": 1}', '{"job": {"fold": "1A"}}', "[" * 100_000])
def test_a_run_folder_that_does_not_name_its_job_is_refused(run, text):
    (run / "env.json").write_text(text)
    with pytest.raises(UserError, match=r"env\.json"):
        Job.of_run(run)


@pytest.mark.parametrize("name", ["Tensor", "MultiTaskSystem.forward", "nonsuch"])
def test_of_a_file_of_systems_only_its_own_classes_are_built(run, name):
    add(run, f"\nevil: !new:local.systems.mtl.{name}\n")
    with pytest.raises(UserError, match="no system or encoder"):
        refuse_foreign(run)


@pytest.mark.parametrize("tag", sorted(trust.KNOWN))
def test_known_parts_exist(tag):
    assert callable(pydoc.locate(tag.partition(":")[2]))


def test_known_parts_may_be_built_but_nothing_within_them(run):
    add(run, "\noptimizer: !name:torch.optim.SGD {momentum: 0.9}\n")
    refuse_foreign(run)
    add(run, "\naugment: !new:speechbrain.augment.augmenter.Augmenter {augmentations: [!apply:os.getcwd {}]}\n")
    with pytest.raises(UserError, match="getcwd"):
        refuse_foreign(run)


@pytest.mark.parametrize(
    "tag",
    [
        "!new:torch.optim.SGD",
        "!name:torch.optim.lr_scheduler.LambdaLR",
        "!new:speechbrain.augment.time_domain.AddNoise",  # opens files
        "!name:transformers.get_scheduler",
        "!apply:transformers.get_linear_schedule_with_warmup",
        "!new:speechbrain.nnet.pooling.AttentionPooling",
    ],
)
def test_parts_that_are_not_known_are_refused(run, tag):
    add(run, f"\npart: {tag} {{}}\n")
    with pytest.raises(UserError, match="nor known to be safe"):
        refuse_foreign(run)


def test_what_the_users_own_yaml_builds_may_be_decoded(run):
    add(run, "\ncounts: !new:collections.Counter\n")
    with pytest.raises(UserError, match="Counter"):
        refuse_foreign(run)
    refuse_foreign(run, own="system: 1\ncounts: !new:collections.Counter\n")


def test_a_checkpoints_pickle_runs_nothing(job, run, trap):
    system = hparams.build(job.yaml)["system"]
    save = {"system": lambda system, path: torch.save({"weights": Payload(trap)}, path)}
    checkpointer = RunCheckpointer(run / "save", {"system": system}, custom_save_hooks=save)
    checkpointer.save_and_keep({"epoch": 7, "ua": 0.5, "wer": 0.5}, last=1)
    (weights,) = (run / "save").glob("*/system.ckpt")
    springs(trap, lambda: torch.load(weights, weights_only=False))
    (run / "decode.json").unlink()
    for use in (lambda: load_trained(run), lambda: decode(job)):
        with pytest.raises(UserError, match="holds more than values"):
            use()
        assert not trap.exists()
