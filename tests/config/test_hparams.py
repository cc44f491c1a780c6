"""Hyperparameters: overrides typed by their defaults, and what differs between two YAMLs."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from paths import REPOSITORY

from local.config.hparams import NEWER, RUNNING, build, compared_values, parse_overrides, read_values, resolve
from local.core.errors import UserError

YAML = """\
epochs: 30
lr: 0.5
head_lr: !ref <lr>
warm: !ref <epochs> // 2
freeze: False
pooling: mean
device: null
encoder:
    layers: 2
    sizes: [1, 2]
seed: 1
n_labels: 4
n_tokens: 32
num_workers: 0
counts: !new:collections.Counter
    rate: !ref <head_lr>
    pooling: !ref <pooling>
"""

ODD = [
    "03", "1e5", "0x10", "12:30", "2024-01-01", "true", "no", "null", "~", "'", '"', "#", "#x", "[1", "{}", "*x", "&x",
    "%", "@x", "a: b", "- a", "a b ", "<lr>", "/ż ó/;$(touch x)", "a\\nb",
]  # fmt: skip
KNOWN = {"epochs", "lr", "head_lr", "warm", "freeze", "pooling", "device", "encoder", "num_workers"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(YAML)
    return path


def overridden(file: Path, *words: str) -> dict:
    """What a YAML builds with these overrides."""
    return build(resolve(file, parse_overrides(words, file)))


def refusal(file: Path, *words: str) -> UserError:
    with pytest.raises(UserError) as caught:
        parse_overrides(words, file)
    return caught.value


@pytest.mark.parametrize("word", ["5e-5", "5E-5", "0.00005", "00.00005", "+5e-05", "50e-6"])
def test_every_way_of_writing_a_number(file, word):
    assert parse_overrides(["--lr", word], file) == parse_overrides([f"--lr={word}"], file) == {"lr": 5e-5}
    built = overridden(file, "--lr", word)
    assert (built["lr"], type(built["lr"])) == (5e-5, float)
    assert built["counts"] == Counter(rate=5e-5, pooling="mean")  # through two references


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--epochs", "07"], {"epochs": 7}),
        (["--epochs=-1"], {"epochs": -1}),
        (["--lr", "3"], {"lr": 3.0}),
        (["--lr", "-1e3"], {"lr": -1000.0}),
        (["--freeze", "true"], {"freeze": True}),
        (["--freeze", "FALSE"], {"freeze": False}),
        (["--device", "cuda:1"], {"device": "cuda:1"}),
        (["--device", "null"], {"device": None}),
        (["--pooling", "null"], {"pooling": "null"}),
        (["--head-lr", "1", "--num_workers=2"], {"head_lr": 1.0, "num_workers": 2}),
        (["--head_lr=1", "--head-lr", "2"], {"head_lr": 2.0}),
        (["--pooling=--odd"], {"pooling": "--odd"}),
        (["--pooling=a=b"], {"pooling": "a=b"}),
        ([], {}),
    ],
)
def test_values_have_the_type_of_the_default(file, words, expected):
    found = parse_overrides(words, file)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("word", ODD)
def test_a_text_stays_the_text_that_it_is(file, word):
    for key in ("pooling", "encoder", "device"):
        if (key, word) != ("device", "null"):
            assert overridden(file, f"--{key}={word}")[key] == word


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr"], "--lr has no value"),
        (["--lr", "--epochs", "3"], "--lr has no value"),
        (["--epochs", "3", "--pooling="], "--pooling has no value"),
        (["--pooling", ""], "--pooling has no value"),
        (["lr", "3"], "stray word 'lr'"),
        (["-lr", "3"], "stray word '-lr'"),
        (["--lr", "3", "4"], "stray word '4'"),
        (["--", "--lr", "3"], "stray word '--'"),
        (["--lr", "fast"], "--lr fast: not a number"),
        (["--lr", "5e"], "not a number"),
        (["--epochs", "1.5"], "--epochs 1.5: not a whole number"),
        (["--epochs", "1e2"], "not a whole number"),
        (["--freeze", "1"], "not true or false"),
        (["--freeze", "yes"], "not true or false"),
    ],
)
def test_what_is_refused(file, words, said):
    assert said in refusal(file, *words).what


@pytest.mark.parametrize("key", ["alhpa", "layers", "encoder.layers", "seed", "n_labels", "n-tokens", "LR"])
def test_an_unknown_key_is_refused_with_the_known_ones_named(file, key):
    error = refusal(file, f"--{key}", "1")
    assert str(file) in error.what and f"'{key.replace('-', '_')}'" in error.what
    named = error.remedy.rsplit(": ", 1)[1].split()
    assert set(named) == KNOWN | read_values(RUNNING).keys() - {"seed", "n_labels", "n_tokens", "augment"}


def test_scalars_resolve_references_and_build_nothing(file):
    values = read_values(file, {"lr": 0.25, "epochs": 9})
    assert values["head_lr"] == 0.25 and values["warm"] == 4
    assert values["encoder"] == {"layers": 2, "sizes": [1, 2]} and values["device"] is None
    assert "counts" not in values
    file.write_text("a: 1\nb: !new:no.such.module\nc: !apply:os.abort\nd: !name:x.y\n    e: 1\n")
    assert read_values(file) == {"a": 1} | read_values(RUNNING)


def test_a_resolved_yaml_loads_by_itself(file):
    text = resolve(file, {"lr": 1e-5, "seed": 7})
    assert "!ref" not in text
    file.unlink()
    built = build(text)
    assert (built["head_lr"], built["seed"], built["counts"]["rate"]) == (1e-5, 7, 1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read"),
        ("a: 1\na: 2\n", "line 2: the key a is there twice"),
        ("a: !ref <b>\n", '"b" is not valid'),
        ("a: !PLACEHOLDER\n", "PLACEHOLDER"),
        ("", "not a list of keys and values"),
        ("- 1\n- 2\n", "not a list of keys and values"),
        (b"a: \xff\n", "can't decode"),
    ],
)
def test_a_broken_yaml_is_named_in_one_line(file, text, said):
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_values(file)
    assert str(file) in caught.value.what and said in caught.value.what
    assert "\n" not in caught.value.what + caught.value.remedy


def test_an_absent_yaml_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="there is no YAML"):
        read_values(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_values(tmp_path)
    (tmp_path / "own.yaml").write_text("part: !include:absent.yaml\n")
    with pytest.raises(UserError, match=r"own.yaml includes .*absent.yaml, which is not there"):
        read_values(tmp_path / "own.yaml")


def test_an_encoder_is_overridden_by_a_folder_or_a_name_only(file):
    assert "it is a folder or a name" in refusal(file, "--encoder", "{model_type: bert}").what


def test_values_are_compared_but_for_how_it_runs(file):
    old = compared_values(resolve(file, {}))
    assert compared_values(resolve(file, {"device": "cpu", "num_workers": 3, "slurm": {"mem_gb": 1}})) == old
    assert compared_values(resolve(file, {"lr": 0.25})) == old | {"lr": 0.25, "head_lr": 0.25}
    assert compared_values(resolve(file, {"encoder": "folder"})) == old | {"encoder": "folder"}
    assert compared_values("# a comment\n" + resolve(file, {}).replace("0.5", "5e-1")) == old
    assert compared_values(resolve(file, {}) + "alpha: 0.1\n") == old | {"alpha": 0.1}


def test_a_mapping_is_overridden_whatever_its_default(file):
    for default in ("null", "balanced", "{ang: 3.0}"):
        file.write_text(f"{YAML}class_weights: {default}\nspec_augment: {{}}\n")
        words = ["--class_weights", "{hap: 2}", "--spec_augment", "{mask_time_prob: 0.1}"]
        if "ang" in default:
            assert "has no key 'hap'" in refusal(file, *words).what
            words[1] = "{ang: 2}"
        values = overridden(file, *words)
        assert list(values["class_weights"].values()) == [2] and values["spec_augment"] == {"mask_time_prob": 0.1}
    assert overridden(file, "--spec_augment", "{}")["spec_augment"] == {}


def test_keys_of_this_version_are_compared_only_where_they_are_not_as_before(file):
    """A run folder of before has none of them, and was trained with what are their defaults."""
    old = compared_values(YAML + "weight_decay: 0.5\n")
    assert not NEWER.keys() & old.keys()
    file.write_text(YAML + "weight_decay: 0.5\ndropout: 0.0\nlabel_smoothing: 0.0\nspec_augment: {}\n")
    new = compared_values(resolve(file, {}))
    assert not NEWER.keys() & new.keys() and old.items() <= new.items()
    changed = {"dropout": 0.1, "patience": 3, "selection": "valid_wa", "class_weights": "balanced"}
    changed |= {"spec_augment": {"mask_time_prob": 0.1}}
    assert compared_values(resolve(file, changed)) == new | changed
    assert compared_values(resolve(file, changed | {"selection": "wa"})) == new | changed  # one figure
    assert compared_values(resolve(file, {"selection": "ua"})) == new  # the default
    assert compared_values(resolve(file, {"weight_decay": 0.1})) == new | {"weight_decay": 0.1}
    file.write_text(file.read_text() + "optimizer: !name:torch.optim.SGD {momentum: 0.9}\n")
    assert compared_values(resolve(file, {})) == new | {"optimizer": {"!name:torch.optim.SGD": {"momentum": 0.9}}}
    other = resolve(file, {}).replace("momentum: 0.9", "momentum: 0.8")
    assert compared_values(other)["optimizer"] == {"!name:torch.optim.SGD": {"momentum": 0.8}}


def test_the_arguments_of_one_optimizer_are_not_those_of_another(file):
    file.write_text(YAML + "optimizer: !name:torch.optim.SGD {momentum: 0.9}\n")
    assert build(resolve(file, {}))["optimizer"].keywords == {"momentum": 0.9}


def test_running_yaml_completes_a_yaml_by_what_it_lacks(file):
    defaults = read_values(RUNNING)
    assert read_values(file, {"slurm": {"partition": "gpu"}}) | {"slurm": 0} == {
        **defaults, **read_values(file), "slurm": 0
    }  # fmt: skip
    assert read_values(file, {"slurm": {"partition": "gpu"}})["slurm"] == defaults["slurm"] | {"partition": "gpu"}
    file.write_text(YAML + "keep_last: 9\nslurm: {mem_gb: 7, cpus_per_task: null}\nseen: !ref <precision>\n")
    values = read_values(file)
    assert (values["keep_last"], values["seen"]) == (9, "auto")
    assert values["slurm"] == defaults["slurm"] | {"mem_gb": 7, "cpus_per_task": None}
    file.write_text(YAML + "slurm: null\n")
    assert read_values(file)["slurm"] is None
    file.write_text(resolve(file, {}))
    assert resolve(file, {}) == file.read_text()  # complete, it stays what it is


@pytest.mark.parametrize("key", ["lr", "token_type", "device", "patience"])
def test_an_object_for_a_plain_value_is_refused_by_its_key(file, key):
    file.write_text(f"{key}: !new:fractions.Fraction [1]\n")
    with pytest.raises(UserError, match=rf"own\.yaml: {key} is an object") as refusal:
        parse_overrides([], file)
    assert refusal.value.remedy == f"give a plain value, as its default is: {read_values(RUNNING)[key]}"
    file.write_text("augment: !new:fractions.Fraction [1]\n")
    assert parse_overrides([], file) == {}


SYSTEMS = sorted({*(REPOSITORY / "hparams").glob("*.yaml")} - {REPOSITORY / "hparams" / RUNNING.name})


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.name)
def test_every_yaml_of_the_repository_takes_every_override(path):
    values = read_values(path)
    assert {"seed", "n_labels", "n_tokens", "token_type", "vocab_size", "epochs", "device"} <= set(values)
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    words = [
        f"--{key}={value}" for key, value in plain.items() if key not in ("seed", "n_labels", "n_tokens", "augment")
    ]
    assert read_values(path, parse_overrides(words, path)) == values


def test_a_key_that_is_there_twice_is_named(tmp_path):
    with pytest.raises(UserError) as refused:
        parse_overrides(["--heads", "{gender: 0.1, speaker: 0.3, gender: 0.2}"], REPOSITORY / "hparams/mini.yaml")
    assert refused.value.what.endswith("gender: 0.2}: the key gender is there twice")
    assert refused.value.remedy == "give it once"
    text = (REPOSITORY / "hparams/mini.yaml").read_text(encoding="utf-8")
    twice = tmp_path / "twice.yaml"
    for line in ("heads: {valence: 0.1, valence: 0.2}", "alpha: 0.1"):
        twice.write_text(f"{text}\n{line}\n", encoding="utf-8")
        with pytest.raises(UserError) as refused:
            resolve(twice, {})
        key = "valence" if "heads" in line else "alpha"
        assert refused.value.what == f"{twice}, line {text.count(chr(10)) + 2}: the key {key} is there twice"


def test_a_tuple_is_read_the_same_before_and_after_something_was_built(file):
    """In a process of its own: HyperPyYAML changes how every reader takes `(1, 2)`, for good."""
    file.write_text(YAML + "steps: (1, 2)\noptimizer: !name:torch.optim.AdamW\n    betas: (0.8, 0.9)\n")
    lines = [
        "import sys; from pathlib import Path; from local.config import hparams",
        "text, changed = (hparams.resolve(Path(sys.argv[1]), {'seed': seed}) for seed in (1, 2))",
        "print({**hparams.trained_values(text), 'seed': 0})",
        "hparams.build('a: (1, 2)')",
        "print({**hparams.trained_values(changed), 'seed': 0})",
        "print({**hparams.trained_values(hparams.resolve(Path(sys.argv[1]), {'seed': 3})), 'seed': 0})",
    ]
    call = [sys.executable, "-c", "\n".join(lines), str(file)]
    before, *after = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    assert after == [before, before] and "'steps': '(1, 2)'" in before and "'betas': '(0.8, 0.9)'" in before
