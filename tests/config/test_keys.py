"""No key without a reader: what a YAML has that nothing reads is named, with its line and what may be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import REPOSITORY

from local.config import hparams, keys
from local.config.hparams import parse_overrides, refuse_unread, resolve
from local.core.errors import UserError
from local.experiment.command_line import ALL_OPTIONS, parse

DEFAULTS = """\
seed: 1
n_labels: 4
epochs: 20
lr: 0.001
head_lr: !ref <lr>
token_type: char
keep_last: 2
warmup: 0.1
slurm:
    partition: null
    mem_gb: 32
    additional: {}
"""
BASE = """\
encoder: facebook/wav2vec2-base
alpha: 0.1
epochs: 3
system: !new:local.systems.mtl.MultiTaskSystem
    encoder: !apply:local.encoders.load_encoder
        source: !ref <encoder>
    alpha: !ref <alpha>
"""


def found(text: str, defaults: str = DEFAULTS) -> list[str]:
    """The keys that nothing reads, as `key` or `mapping.key`."""
    return [".".join(key.path) for key in keys.unread(text, defaults, hparams.READ)]


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """The path of a YAML of one's own; the project has `DEFAULTS`, and a YAML with an encoder of random weights."""
    project = tmp_path / "hparams"
    project.mkdir()
    (project / "running.yaml").write_text(DEFAULTS, encoding="utf-8")
    (project / "mini.yaml").write_text("encoder: {model_type: wav2vec2, hidden_dropout: 0.1}\n", encoding="utf-8")
    monkeypatch.setattr(hparams, "RUNNING", project / "running.yaml")
    return tmp_path / "own.yaml"


def refusal(file: Path, text: str) -> tuple[str, str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        refuse_unread(file, options=ALL_OPTIONS)
    assert "\n" not in caught.value.what + caught.value.remedy
    return caught.value.what.replace(str(file), "own.yaml"), caught.value.remedy


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        ("", []),
        ("seed: 1\nn_labels: 4\nwarmup: 0.1\nkeep_last: 3\nslurm: {mem_gb: 8, additional: {mail-type: FAIL}}\n", []),
        ("slurm: null\n", []),
        ("class_weight: balanced\n", ["class_weight"]),
        ("rates: [1, 2]\nlr: !ref <rates[0]>\n", []),
        ("base: 3\nlr: !ref <base> * 2\n", []),
        ("base: 3\nlr: !copy <base>\n", []),
        ("folder: x\nname: big\nencoder_folder: !ref <folder>/<name>\nhead_lr: !ref <encoder_folder>\n", []),
        ("pool: !new:collections.Counter\nhead_lr: !ref <pool.total>\n", []),
        # what only a key without a reader refers to has none either, also in a circle
        ("annealing: !new:x.Y\n    rate: !ref <my_rate>\nmy_rate: 3\n", ["annealing", "my_rate"]),
        ("a: !ref <b>\nb: !ref <a>\n", ["a", "b"]),
        # mappings
        ("slurm: {partitoin: gpu, mem_gb: 8}\n", ["slurm.partitoin"]),
        ("sizes: {a: 1, b: 2}\nlr: !ref <sizes[a]>\n", ["sizes.b"]),
        ("sizes: {a: {b: 1, c: 2}, d: 3}\nlr: !ref <sizes[a][b]>\n", ["sizes.a.c", "sizes.d"]),
        ("sizes: {a: 1, b: 2}\nlr: !ref <sizes[a]>\nhead_lr: !ref <sizes>\n", []),
        # YAML's own references
        ("shared: &shared {a: 1}\ntoken_type: *shared\n", []),
        ("shared: &shared {a: 1}\nunread: *shared\n", ["shared", "unread"]),
        ("shared: &shared {warmup: 0.1}\n<<: *shared\n", []),
        ("<<: {warmup: 0.1, wamrup: 0.2}\n", ["wamrup"]),
        # HyperPyYAML calls it, and drops the key
        ("__set_seed: !apply:random.seed [1]\n", []),
        ("__note: 1\n", ["__note"]),
    ],
)
def test_what_nothing_reads(more, unread):
    assert found(BASE + more) == unread


def test_a_key_that_a_later_version_reads_is_known_from_the_defaults_alone():
    text = BASE + "optimizer: !name:torch.optim.SGD\n    momentum: !ref <momentum>\nmomentum: 0.9\npatience: 3\n"
    text += "class_weights: {ang: 2.0}\nextra: {a: 1, c: 3}\n"
    assert found(text) == ["optimizer", "momentum", "patience", "class_weights", "extra"]
    newer = "optimizer: !name:torch.optim.AdamW {betas: !ref <betas>}\npatience: 0\nclass_weights: null\n"
    assert found(text, DEFAULTS + newer + "extra: {a: 0, b: 0}\n") == ["extra.c"]
    # A default refers to a key of the YAML, which is read then.
    assert found(BASE + "betas: [0, 1]\n", DEFAULTS + newer) == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "hparams").glob("*.yaml")), ids=lambda path: path.name)
def test_the_yamls_of_the_repository_have_none(path):
    if path.name != "running.yaml":
        refuse_unread(path, options=ALL_OPTIONS)
    assert found(path.read_text(encoding="utf-8"), hparams.RUNNING.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("more", "what", "remedy"),
    [
        ("wamrup: 0.2\n", "own.yaml, line 8: nothing reads the key 'wamrup'", "warmup, or remove it"),
        ("number_of_epochs: 3\n", "own.yaml, line 8: nothing reads the key 'number_of_epochs'", "epochs, or remove it"),
        (
            "# a comment\n\nhidden_dropout: 0.2\n",
            "own.yaml, line 10: nothing reads the key 'hidden_dropout'",
            "hidden_dropout below encoder, or remove it",
        ),
        (
            "partition: gpu\n",
            "own.yaml, line 8: nothing reads the key 'partition'",
            "partition below slurm, or remove it",
        ),
        (
            "partitoin: gpu\n",
            "own.yaml, line 8: nothing reads the key 'partitoin'",
            "partition below slurm, or remove it",
        ),
        (
            "seeds: 1 2\n",
            "own.yaml, line 8: nothing reads the key 'seeds'",
            "the option --seeds of run.sh, or remove it",
        ),
        (
            "output_folder: x\n",
            "own.yaml, line 8: nothing reads the key 'output_folder'",
            "the option --name of run.sh, or remove it",
        ),
        (
            "slurm:\n    mem_gb: 3\n    partitoin: gpu\n",
            "own.yaml, line 10: nothing reads the key 'partitoin' below 'slurm'",
            "partition, or remove it",
        ),
        (
            "zzz: 1\n",
            "own.yaml, line 8: nothing reads the key 'zzz'",
            "remove it, or let an object of the YAML take it, by !ref <zzz>",
        ),
        (
            "wamrup: 0.2\nkeep_lst: 3\n",
            "own.yaml: nothing reads the keys 'wamrup' (line 8), 'keep_lst' (line 9)",
            "warmup for 'wamrup', keep_last for 'keep_lst'; or remove them",
        ),
        (
            "wamrup: 0.2\nzzz: 3\n",
            "own.yaml: nothing reads the keys 'wamrup' (line 8), 'zzz' (line 9)",
            "warmup for 'wamrup'; remove the others, or let an object of the YAML take them, by !ref <KEY>",
        ),
    ],
)
def test_the_message_has_the_line_and_what_may_be_meant(file, more, what, remedy):
    assert refusal(file, BASE + more) == (what, remedy)


def test_names_of_speechbrain_lead_to_ours_where_there_is_such_a_key(file):
    text = BASE + "opt_class: 1\nlr_annealing: 2\n"
    assert refusal(file, text)[1].startswith("remove them, or let")
    hparams.RUNNING.write_text(DEFAULTS + "optimizer: null\nscheduler: null\n", encoding="utf-8")
    assert refusal(file, text)[1] == "optimizer for 'opt_class', scheduler for 'lr_annealing'; or remove them"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("--wamrup", "warmup; or take one of: "),
        ("--folds", "the option --folds of run.sh; or take one of: "),
        ("--stop_stage", "the option --stop-stage of run.sh; or take one of: "),
        ("--partition", "partition below slurm; or take one of: "),
        ("--number-of-epochs", "epochs; or take one of: "),
        ("--zzz", "take one of: "),
    ],
)
def test_an_unknown_override_leads_to_what_may_be_meant_too(file, override, hint):
    file.write_text(BASE + "warmup: 0.1\n", encoding="utf-8")
    with pytest.raises(UserError, match="could be overridden") as caught:
        parse_overrides([override, "1"], file, options=ALL_OPTIONS)
    assert caught.value.remedy.startswith(hint + "encoder alpha")


@pytest.mark.parametrize("word", ["--optimizer", "--scheduler", "--augment", "--system"])
def test_an_object_is_written_into_a_copy(word):
    with pytest.raises(UserError, match="is an object") as caught:
        parse_overrides([word, "x"], REPOSITORY / "hparams" / "mini.yaml")
    assert "copy of" in caught.value.remedy


@pytest.mark.parametrize("word", ["--freeze_layer", "--frozen-layers", "--num_frozen_layers"])
def test_frozen_layers_by_another_name(word):
    with pytest.raises(UserError, match="could be overridden") as caught:
        parse_overrides([word, "1"], REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")
    assert caught.value.remedy.startswith("freeze_layers; or take one of: ")


def test_every_name_of_others_leads_to_a_key_or_an_option():
    """Those of keys that are to come are left out."""
    yamls = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "hparams").glob("*.yaml")]
    known = {key for text in yamls for key in keys.entries(text)} | {*ALL_OPTIONS}
    to_come = {"optimizer", "scheduler", "augment", "patience", "label_smoothing", "selection"}
    assert {*keys.ELSEWHERE.values()} - to_come <= known
    assert not keys.ELSEWHERE.keys() & known


def test_a_yaml_without_a_system_is_refused(file):
    assert refusal(file, BASE.replace("system: ", "sistem: "))[0] == "own.yaml lacks the key system"


# ---------------------------------------------------------------- every stage, and run folders


def test_the_options_of_every_stage_are_read_with_this_check(workplace):
    file = workplace / "own.yaml"
    text = (workplace / "hparams" / "mini.yaml").read_text(encoding="utf-8")
    file.write_text(text + "class_wieghts: balanced\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.yaml, line \d+: nothing reads the key 'class_wieghts'$"):
        parse(["--hparams", str(file)])
    file.write_text(text, encoding="utf-8")
    parse(["--hparams", str(file)])


def test_the_yaml_of_a_run_folder_goes_on_and_its_overrides_are_those_that_are_read(workplace):
    """Its references are resolved: what they named stands there without a reader, as does what was written once."""
    run = workplace / "run"
    run.mkdir()
    file = run / "hyperparams.yaml"
    mini = workplace / "hparams" / "mini.yaml"
    file.write_text(resolve(mini, {}) + "an_old_key: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="nothing reads the keys 'freeze'"):
        parse(["--hparams", str(file)])
    (run / "env.json").write_text("{}")
    options = parse(["--hparams", str(file), "--", "--device", "cpu", "--lr", "0.5"])
    assert (options.values["device"], options.values["lr"]) == ("cpu", 0.5)
    for override in ("--alpha=0.5", "--encoder=facebook/wav2vec2-base"):
        with pytest.raises(UserError, match=f"nothing reads {override.split('=')[0]} of .*hyperparams.yaml: its ref"):
            parse(["--hparams", str(file), "--", override])
