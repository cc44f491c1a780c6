"""The options of run.sh: their form (bash), their meaning (`options`), and that no mistake leaves a trace.

What run.sh refuses is tested with a copy of the pipeline, whose files are listed before and after.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from paths import REPOSITORY

from local.core.errors import UserError
from local.experiment.command_line import OPTIONS, parse
from local.experiment.options import check
from local.folds import make_folds
from local.prepare import prepare
from local.score import score

PARSE = """\
. local/shell/parse_options.sh; caller=$PWD; parse_options "$@"
printf "%s\n" "$stage" "$stop_stage" "${options[@]}"
"""


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*map(str, command)], cwd=cwd, env=variables, capture_output=True, text=True)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A copy of the pipeline."""
    folder = tmp_path_factory.mktemp("a checkout; of $(touch pwned)")
    for name in ("local", "hparams"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.sh", "path.sh", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="session")
def working_checkout(checkout) -> Path:
    """The copy with the repository's environment."""
    if not (REPOSITORY / ".venv" / "requirements.txt").exists():
        pytest.skip("path.sh has not made .venv yet")
    if not (checkout / ".venv").exists():
        (checkout / ".venv").symlink_to(REPOSITORY / ".venv")
    return checkout


def listing(folder: Path) -> dict[str, int]:
    """Every file and folder, with its time of writing; the environment is not looked into."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if ".venv" not in path.parts}


def assert_refused(ended: subprocess.CompletedProcess, *said: str) -> None:
    """Exit code 2, nothing on stdout, two lines on stderr."""
    assert (ended.returncode, ended.stdout) == (2, "")
    error, remedy = ended.stderr.splitlines()
    assert error.startswith("error: ") and remedy.startswith("  try: ")
    assert all(word in error for word in said)


# ---------------------------------------------------------------- the form, in bash


def parsed(checkout: Path, *words: str) -> list[str]:
    """What parse_options hands on: stage, stop_stage, and the stages' options."""
    ended = run("bash", "-euo", "pipefail", "-c", PARSE, "run.sh", *words, cwd=checkout)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def test_defaults(checkout):
    assert parsed(checkout) == ["0", "5"]
    assert parsed(checkout, "--stage", "5") == ["5", "5"]
    assert parsed(checkout, "--stage", "6") == ["6", "6"]
    assert parsed(checkout, "--stage", "7") == ["7", "7"]
    assert parsed(checkout, "--stop-stage", "6") == ["0", "6"]


@pytest.mark.parametrize("form", ["--stop-stage 3", "--stop_stage 3", "--stop-stage=3", "--stop_stage=3"])
def test_underscores_dashes_blanks_and_equals_signs(checkout, form):
    expected = ["0", "3", "--seeds", "1 2", "--name", "a=b"]
    assert parsed(checkout, "--seeds=1 2", *form.split(), "--name", "a=b") == expected


def test_every_option_is_handed_on(checkout):
    values = {
        "corpus": "csv",
        "columns": "wav=path emo='Which emotion'",
        "partial": "true",
        "protocol": "session",
        "valid": "none",
        "hold-text": "true",
        "extra-training": "all-turns",
        "folds": "01F 01M",
        "seeds": "1 2",
        "name": "n",
        "jobs": "2",
        "processes": "2",
        "backend": "local",
        "force": "true",
        "last-epoch": "true",
    }
    words = [word for name, value in values.items() for word in (f"--{name}", value)]
    assert parsed(checkout, *words) == ["0", "5", *words]
    assert parsed(checkout, "--stage", "2", *words, "--stage=4") == ["4", "5", *words]
    stressed = ["--stress", "white babble"]
    assert parsed(checkout, "--stage", "7", *stressed) == ["7", "7", *stressed]
    assert parsed(checkout, "--stop-stage", "7", *stressed) == ["0", "7", *stressed]


def test_overrides_are_handed_on_untouched(checkout):
    overrides = ["--", "--alpha", "0.01", "--stage=9", "--head_lr=1e-5", "stray", "--", "--help"]
    assert parsed(checkout, "--stage", "1", *overrides) == ["1", "5", *overrides]


def test_relative_paths_count_from_the_caller(checkout, tmp_path):
    (tmp_path / "own table.csv").touch()
    (tmp_path / "own.yaml").touch()
    command = PARSE.replace("caller=$PWD", f"caller={shlex.quote(str(tmp_path))}")
    words = ("--corpus", "csv", "--data=own table.csv", "--hparams", "own.yaml", "--data", str(tmp_path))
    ended = run("bash", "-euc", command, "run.sh", *words, cwd=checkout)
    expected = ["--corpus", "csv", "--data", f"{tmp_path}/own table.csv", "--hparams", f"{tmp_path}/own.yaml"]
    assert ended.stdout.splitlines()[2:] == [*expected, "--data", str(tmp_path)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sage", "1"], "unknown option '--sage'"),
        (["--status=true"], "unknown option '--status'"),
        (["--./*", "1"], "unknown option '--./*'"),
        (["--.*=1"], "unknown option '--.*'"),
        (["--stages=1"], "unknown option '--stages'"),
        (["--opt-class", "0.1"], "unknown option '--opt-class'"),
        (["--=1"], "unknown option '--'"),
        (["--fold", "01F"], "unknown option '--fold'"),
        (["--name"], "--name has no value"),
        (["--equal-shares"], "unknown option '--equal-shares'"),
        (["--epochs"], "--epochs is no option of run.sh but a key of the YAML"),
        (["--name="], "--name has no value"),
        (["--name", ""], "--name has no value"),
        (["--force", "--stage", "1"], "--force has no value"),
        (["--stage", "--", "--alpha", "1"], "--stage has no value"),
        (["mini"], "stray word 'mini'"),
        (["--stage", "1", "2"], "stray word '2'"),
        (["-s", "1"], "stray word '-s'"),
        (["-"], "stray word '-'"),
        ([""], "stray word ''"),
        (["$(touch pwned)"], "stray word '$(touch pwned)'"),
        (["--stage", "8"], "--stage '8' is not a stage"),
        (["--stage", "01"], "'01' is not a stage"),
        (["--stop-stage=-1"], "--stop-stage '-1' is not a stage"),
        (["--stage", "stage[$(touch pwned)]"], "is not a stage"),
        (["--stage", "3", "--stop-stage", "2"], "--stop-stage 2 comes before --stage 3"),
        (["--stop_stage=0", "--stage=1"], "--stop-stage 0 comes before --stage 1"),
        (["--stress", "white"], "--stress 'white' is of stage 7, which is not asked for"),
        (["--corpus", "csv", "--data", "absent; touch pwned"], "absent; touch pwned: there is no such file"),
        (["--hparams", "hparams/absent.yaml"], "hparams/absent.yaml: there is no such file"),
        (["--hparams", "hparams"], "--hparams hparams: there is no such file in "),
        (["--data", "hparams"], "--data is given without its --corpus"),
    ],
)
def test_run_sh_refuses_before_anything_is_set_up(checkout, words, said):
    before = listing(checkout)
    assert_refused(run("./run.sh", *words, cwd=checkout), said)
    assert listing(checkout) == before


@pytest.mark.parametrize("form", ["--epochs 1", "--epochs=1"])
def test_an_override_before_the_dashes_is_told_where_it_belongs(checkout, form):
    refused = run("./run.sh", "--corpus", "mini", *form.split(), "--seeds", "1", cwd=checkout)
    assert_refused(refused, "--epochs is no option of run.sh but a key of the YAML: it comes after a lone --")
    assert refused.stderr.splitlines()[1] == "  try: ./run.sh ... -- --epochs 1"


def test_so_is_a_key_of_a_yaml_of_ones_own(checkout, tmp_path):
    (tmp_path / "own.yaml").write_text("own_rate: 1\n")
    words = ["--hparams", str(tmp_path / "own.yaml"), "--own-rate", "2"]
    refused = run("./run.sh", *words, cwd=checkout)
    assert_refused(refused, "--own-rate is no option of run.sh")
    assert refused.stderr.splitlines()[1] == "  try: ./run.sh ... -- --own-rate 2"
    assert_refused(run("./run.sh", *words[2:], cwd=checkout), "unknown option '--own-rate'")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--stage", "1", "--help", "--bogus"]])
def test_help(checkout, words):
    before = listing(checkout)
    ended = run("./run.sh", *words, cwd=checkout)
    assert (ended.returncode, ended.stderr) == (0, "")
    names = "stage stop-stage corpus data protocol valid folds seeds hparams name jobs processes backend status force"
    assert all(f"--{name} " in ended.stdout for name in [*names.split(), "help"])
    assert "#" not in ended.stdout and "set -euo" not in ended.stdout
    assert listing(checkout) == before


def test_the_options_of_the_help_are_those_of_the_stages():
    names = re.findall(r"(?m)^#   (--[a-z-]+)", (REPOSITORY / "run.sh").read_text())
    assert sorted(names) == sorted([*OPTIONS, "--stage", "--stop-stage", "--status", "--help"])


# ---------------------------------------------------------------- the whole of run.sh


def test_run_sh_refuses_what_only_the_corpus_shows(working_checkout, own_table):
    before = listing(working_checkout)
    ended = run(
        "./run.sh", "--corpus", "csv", "--data", own_table, "--folds", "1A 3C", "--name", "x", cwd=working_checkout
    )
    assert_refused(ended, "protocol 'speaker' has no fold '3C'")
    assert ended.stderr.splitlines()[1] == "  try: take all, or of: 1A 1B 2A 2B"
    assert listing(working_checkout) == before


def test_no_value_is_ever_executed(working_checkout, own_table, tmp_path):
    """Stages 0 and 1, called from another folder, with blanks and commands in every path and value."""
    folder = tmp_path / "my data;touch pwned $(touch pwned)`touch pwned`"
    own_table.parent.rename(folder)
    override = "a b;touch pwned $(touch pwned)"
    words = ["--corpus", "csv", "--data", f"{folder.name}/own.csv", "--stop-stage", "1", "--name", "n"]
    words += ["--protocol=speaker", "--folds", "1A  2B", "--", "--encoder", override]
    ended = run(working_checkout / "run.sh", *words, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == "== stage 0: corpus own"
    made = {path.name for path in (working_checkout / "manifests" / "own" / "speaker").iterdir()}
    assert made == {"1A", "1B", "2A", "2B", "folds.json", "leaks.csv"}
    before = listing(working_checkout)
    words = ["--corpus", "csv", "--data", f"{folder.name}/own.csv", "--stop-stage", "0"]
    refused = run(working_checkout / "run.sh", *words, "--name", "x;touch pwned $(touch pwned)", cwd=tmp_path)
    assert_refused(refused, "--name 'x;touch pwned $(touch pwned)'")
    assert listing(working_checkout) == before
    shutil.rmtree(working_checkout / "manifests")
    assert not any("pwned" in path.name for root in (working_checkout, tmp_path) for path in root.rglob("pwned"))


# ---------------------------------------------------------------- the meaning


@pytest.fixture
def own(own_corpus) -> list[str]:
    """Words that name the corpus own.csv, with stages 0 and 1 done."""
    return own_corpus


def test_what_follows_from_no_option_but_the_yaml(workplace):
    options = parse(["--hparams", "hparams/mini.yaml"])
    assert (options.corpus, options.chosen_protocol(), options.name, options.seeds) == ("mini", "speaker", "mini", (1,))
    assert (options.data, options.valid, options.folds, options.jobs) == (None, "", (), None)
    assert (options.partial, options.force, options.backend, options.overrides) == (False, False, "local", {})
    assert options.run_folder(1, "01F") == Path("results/mini/speaker/mini/seed1/01F")


def test_the_name_of_an_own_table_is_in_every_path(own):
    options = parse([*own, "--protocol", "session", "--name", "n", "--seeds", "1,3 2", "--", "--lr", "1e-3"])
    assert (options.corpus, options.module_name, options.seeds) == ("own", "csv", (1, 3, 2))
    assert options.overrides == {"lr": 1e-3}
    assert options.run_folder(3, "s1") == Path("results/own/session/n/seed3/s1")
    assert options.folds_folder("recordings") == Path("manifests/own/session")
    assert options.folds_folder("none") == Path("manifests/own/session-valid_none")


def test_the_name_of_a_folder_is_in_every_path(workplace, tmp_path):
    (tmp_path / "my.set").mkdir()
    for form in ("csv", "folder"):
        words = ["--corpus", form, "--data", f"{tmp_path}/my.set/", "--hparams", "hparams/mini.yaml"]
        options = parse(words)
        assert (options.corpus, options.module_name) == ("my.set", form)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("", ["1A", "1B", "2A", "2B"]),
        ("all", ["1A", "1B", "2A", "2B"]),
        ("2B all", ["1A", "1B", "2A", "2B"]),
        ("2B 1A", ["2B", "1A"]),
        ("2B,1A,2B", ["2B", "1A"]),
    ],
)
def test_folds(own, given, chosen):
    assert parse([*own, "--folds", given]).chosen_folds() == chosen


def test_a_seed_given_twice_is_one_seed(workplace):
    assert parse(["--hparams", "hparams/mini.yaml", "--seeds", "2 1,2 01"]).seeds == (2, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--corpus", "iemocp"], "unknown corpus 'iemocp'"),
        (["--corpus", "../own"], "unknown corpus '../own'"),
        (["--corpus", "csv"], "corpus csv needs the table's path"),
        (["--corpus", "folder"], "corpus folder needs its folder"),
        (["--corpus", "csv", "--columns", "path"], "--columns: 'path' is no pair of names"),
        (["--corpus", "csv", "--columns", "emotion=emo"], "--columns: 'emotion' is no column here"),
        (["--corpus", "nemo", "--columns", "wav=path"], "corpus nemo has no columns to be named with --columns"),
        (["--corpus", "folder", "--data", ".", "--columns", "wav=path"], "corpus folder has no columns"),
        (["--corpus", "csv", "--data", "absent.csv"], "absent.csv: there is no such file"),
        (["--corpus", "iemocap", "--data", "absent"], "absent: there is no such file"),
        (["--protocol", "fold"], "--protocol 'fold' is not known"),
        (["--valid", "dev"], "--valid 'dev' is not known"),
        (["--backend", "cloud"], "--backend 'cloud' is not known"),
        (["--stress", "white hail"], "--stress 'hail' is not known"),
        (["--seeds", "1 a"], "--seeds 'a' is not a whole number"),
        (["--seeds", "-1"], "--seeds '-1' is not a whole number"),
        (["--jobs", "0"], "--jobs '0' is not a whole number of at least 1"),
        (["--force", "maybe"], "--force 'maybe'"),
        (["--partial", "1"], "--partial '1'"),
        (["--name", "a/b"], "--name 'a/b' cannot be a folder's name"),
        (["--name", ".."], "--name '..'"),
        (["--name", "a b"], "--name 'a b'"),
        (["--hparams", "absent.yaml"], "there is no YAML absent.yaml"),
        (["--corpora", "mini"], "unknown option '--corpora'"),
        (["--", "--alhpa", "1"], "no key 'alhpa'"),
        (["--", "alpha"], "stray word 'alpha'"),
        (["--", "--alpha", "x"], "not a number"),
        (["--", "--folds", "1A"], "no key 'folds'"),
        (["--", "--epochs=-1"], "epochs is -1"),
        (["--", "--warmup", "3"], "warmup is 3.0"),
        (["--", "--lr=-1"], "lr is -1.0"),
    ],
)
def test_what_local_options_refuses(workplace, words, said):
    before = listing(workplace)
    given = words if "--hparams" in words else ["--hparams", "hparams/mini.yaml", *words]
    with pytest.raises(UserError) as refusal:
        check(parse(given))
    assert said in refusal.value.what
    assert "\n" not in refusal.value.what + refusal.value.remedy
    assert listing(workplace) == before


@pytest.mark.parametrize("step", [prepare, make_folds, score], ids=["stage 0", "stage 1", "stage 4"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folds", "1A 3C"], "protocol 'speaker' has no fold '3C'"),
        (["--protocol", "session", "--folds", "1A"], "protocol 'session' has no fold '1A'"),
    ],
)
def test_an_unknown_fold_is_refused_by_any_stage(own, workplace, words, step, said, capsys):
    before = listing(workplace)
    capsys.readouterr()
    with pytest.raises(UserError, match=said):
        step(parse([*own, *words]))
    assert capsys.readouterr().out == "" and listing(workplace) == before


def test_a_protocol_that_the_corpus_cannot_serve_is_refused_before_anything_is_written(workplace, own_table):
    own_table.write_text(own_table.read_text().replace(",session,", ",gathering,"))
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--protocol", "session"]
    with pytest.raises(UserError, match="cannot serve protocol 'session'"):
        prepare(parse(words))
    assert not (workplace / "manifests").exists()


def test_a_later_stage_without_the_earlier_ones(workplace, own_table):
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    with pytest.raises(UserError, match="there is no manifest manifests/own/all"):
        make_folds(parse(words))
    assert not (workplace / "manifests").exists()


def test_iemocaps_folds_are_known_before_it_is_read(workplace, tmp_path):
    given = ["--hparams", "hparams/mini.yaml", "--corpus", "iemocap", "--data", str(tmp_path)]
    for words in (["--folds", "01F 05M"], ["--protocol", "recording", "--folds", "03F"], ["--folds", "all"]):
        check(parse([*given, *words]))
    check(parse([*given, "--protocol", "session", "--folds", "Ses05"]))
    check(parse([*given, "--protocol", "random", "--folds", "fold5"]))
    random = ["--protocol", "random", "--folds", "01F"]
    for words in (["--folds", "1F"], ["--folds", "Ses01"], ["--protocol", "session", "--folds", "01F"], random):
        with pytest.raises(UserError, match="has no fold"):
            check(parse([*given, *words]))


def test_labels_and_several_corpora_are_in_the_name(own_corpus, tmp_path):
    own = ["--corpus", "own"]
    assert parse([*own, "--labels", "4class"]).corpus == "own@4class"
    assert parse(["--corpus", "mini own", "--labels", "valence"]).corpus == "mini+own@valence"
    assert parse(["--corpus", "mini+own"]).module_name == "several"
    options = parse(["--corpus", "own@4class"])  # as a run folder records it
    assert (options.corpus, options.module_name, options.labels) == ("own@4class", "csv", None)
    file = tmp_path / "mine.yaml"
    file.write_text("ang: a\nsad: b\n")
    assert parse([*own, "--labels", str(file)]).corpus == "own@mine"
    Path("manifests/own").rename("manifests/own@mine")  # there with a map alone, as stage 0 with --labels leaves it
    assert parse(["--corpus", "own@mine"]).corpus == parse([*own, "--labels", str(file)]).corpus == "own@mine"
    with pytest.raises(UserError, match="unknown corpus 'own'"):
        parse([*own, "--labels", "4class"])


def test_audio_with_extra_training_is_not_called_as_that_without(own_corpus):
    options = parse(["--corpus", "own", "--extra-training", "all-turns"])
    assert (options.audio_name, replace(options, extra_training="").audio_name) == ("own with all-turns", "own")
    assert replace(options, corpus="other", source=options).audio_name == "other"  # which tests models of the first


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--corpus", "mini mini"], "names a corpus twice"),
        (["--corpus", "mini own", "--data", "."], "--data is for one corpus"),
        (["--corpus", "mini nothing"], "unknown corpus 'nothing'"),
        (["--corpus", "own@4class", "--labels", "6class"], "has the labels of 4class, --labels those of 6class"),
        (["--corpus", "own", "--labels", "7class"], "neither a file"),
    ],
)
def test_names_of_corpora_that_are_refused(own_corpus, words, wrong):
    with pytest.raises(UserError, match=wrong):
        parse(words)


@pytest.mark.parametrize("name", ["a+b.csv", "a@b.csv", "ravdess.csv", "IEMOCAP.csv", "mini.csv", "folder.csv"])
def test_a_table_whose_name_is_that_of_other_corpora_is_refused(workplace, tmp_path, name):
    (tmp_path / name).write_text("path,emotion\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be the name of a corpus of your own"):
        parse(["--corpus", "csv", "--data", str(tmp_path / name), "--columns", "wav=path emo=emotion"])


@pytest.mark.parametrize("form", ["csv", "folder"])
def test_a_folder_with_the_name_of_one_of_our_corpora_is_refused(workplace, tmp_path, form):
    (tmp_path / "mini").mkdir()
    with pytest.raises(UserError, match="'mini' cannot be the name of a corpus of your own"):
        parse(["--corpus", form, "--data", str(tmp_path / "mini")])
