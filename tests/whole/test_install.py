"""`pip install -e .`: the commands, and `import ser_mtl` beside another project's `local`."""

from __future__ import annotations

import ast
import os
import shutil
import site
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import soundfile
import tiny_folders
from paths import REPOSITORY

import ser_mtl
from local.core.errors import Parser
from local.inference import EmotionRecognizer

COMMANDS = ["ser-mtl-compare", "ser-mtl-demo", "ser-mtl-predict"]


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The folder of another project, which has a `local` of its own."""
    top = tmp_path_factory.mktemp("other")
    (top / "local" / "core").mkdir(parents=True)
    for name in ("local/__init__.py", "local/core/__init__.py", "local/core/errors.py"):
        (top / name).write_text("WHOSE = 'theirs'\n")
    return top


def answer(python: Path | str, script: str, folder: Path, **variables: str) -> list[str]:
    """The lines that a script prints, run in a folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | variables
    command = [str(python), "-c", textwrap.dedent(script)]
    return subprocess.run(command, cwd=folder, env=variables, check=True, stdout=-1, text=True).stdout.splitlines()


BESIDE = """
    import importlib
    import sys
    import local                                        # theirs, before
    import ser_mtl
    importlib.invalidate_caches()                       # asks every finder
    from ser_mtl.local.core.errors import UserError
    from local.core import errors                       # theirs, after
    print(local.WHOSE, errors.WHOSE, hasattr(errors, "UserError"), UserError.__module__)
    print("torch" in sys.modules, "speechbrain" in sys.modules)
    print(sorted({name.split(".")[1] for name in sys.modules if name.startswith("local.")}))
"""


def test_another_local_may_be_imported_before_and_after(other):
    lines = answer(sys.executable, BESIDE, other, PYTHONPATH=f"{other}{os.pathsep}{REPOSITORY}")
    assert lines == ["theirs theirs False ser_mtl.local.core.errors", "False False", "['core']"]


def test_it_computes_what_local_computes(tmp_path):
    model = tiny_folders.write(tmp_path)
    (tmp_path / "talks").mkdir()
    soundfile.write(tmp_path / "talks" / "a.wav", tiny_folders.noise(1.3), 16_000)
    (tmp_path / "talks" / "b.wav").write_text("no audio")
    expected = EmotionRecognizer.from_hparams(model, run_opts={"device": "cpu"}).analyze(tmp_path / "talks" / "a.wav")
    ours = sys.modules["local.inference.recognizer"]
    recognizer = ser_mtl.load(model, device="cpu")
    assert ser_mtl.load(model, device="cpu", unsure=0.9).confidence.threshold == 0.9
    assert type(recognizer) is ser_mtl.EmotionRecognizer is not EmotionRecognizer
    assert recognizer.analyze(tmp_path / "talks" / "a.wav").posteriors == expected.posteriors
    (good, analysis), (bad, nothing) = ser_mtl.predict(recognizer, tmp_path / "talks")
    assert (good.file, analysis.transcript) == (str(tmp_path / "talks" / "a.wav"), expected.transcript)
    assert "not audio" in bad.error and nothing is None
    ((window, analysis),) = ser_mtl.predict(recognizer, [tmp_path / "talks" / "a.wav"], segments=True)
    assert 0 <= window.start < window.end <= 1.31 and analysis.posteriors
    with pytest.raises(ser_mtl.local.core.errors.UserError):
        ser_mtl.load(tmp_path)
    assert sys.modules["local.inference.recognizer"] is ours
    from ser_mtl.local import corpora

    assert corpora.module("nemo").__name__ == "ser_mtl.local.corpora.nemo"  # imported by its name


def test_what_does_not_exist_is_no_attribute():
    with pytest.raises(AttributeError, match="absent"):
        _ = ser_mtl.absent
    with pytest.raises(ModuleNotFoundError, match=r"ser_mtl\.local\.absent"):
        __import__("ser_mtl.local.absent")


def test_local_is_imported_in_the_one_form_that_is_renamed():
    for path in (REPOSITORY / "local").rglob("*.py"):
        plain = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Import)]
        assert not [alias.name for node in plain for alias in node.names if f"{alias.name}.".startswith("local.")], path


@pytest.mark.parametrize("command", ["train", "predict", "corpora", "benchmark"])
def test_a_shell_without_the_packages_is_told_to_source_path_sh(command):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [sys.executable, "-S", "-m", f"local.{command}", "--help"]  # -S: the standard library alone
    done = subprocess.run(words, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {sys.executable} lacks the packages of this recipe\n  try: . ./path.sh\n"


def test_an_environment_whose_python_is_gone_is_named(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "gone")
    for place in (tmp_path, tmp_path / ".venv"):
        shutil.copy(REPOSITORY / "requirements.txt", place)
    shutil.copy(REPOSITORY / "path.sh", tmp_path)
    done = subprocess.run(["bash", "-c", ". ./path.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert f"error: {tmp_path}/.venv/bin/python cannot be run" in done.stderr


def test_a_stage_has_streams_where_those_of_run_sh_are_closed(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\n: 3>&1 && : 3>&2 && echo >"$2"\n')
    python.chmod(0o755)
    shutil.copytree(REPOSITORY / "local" / "shell", tmp_path / "local" / "shell")
    for name in ("run.sh", "path.sh", "requirements.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copy(REPOSITORY / "requirements.txt", tmp_path / ".venv")
    shutil.copytree(REPOSITORY / "hparams", tmp_path / "hparams")
    subprocess.run(["bash", "-c", "./run.sh --stop-stage 0 >&- 2>&-"], cwd=tmp_path, check=False)
    assert (tmp_path / "local.prepare").exists()


@pytest.mark.parametrize(
    ("called", "shown"),
    [("/env/bin/ser-mtl-predict", "ser-mtl-predict"), ("/house/local/predict.py", "python -m local.predict")],
)
def test_usage_names_the_command_as_it_was_typed(monkeypatch, called, shown):
    monkeypatch.setattr(sys, "argv", [called])
    assert Parser(prog="python -m local.predict").prog == shown


def install(project: Path, *how: str) -> None:
    """Install a copy of the project without the network, and without its dependencies."""
    for name in ("ser_mtl", "local"):
        shutil.copytree(REPOSITORY / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, project)
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
    ]
    cache = {"UV_CACHE_DIR": str(project.parent / "cache")}
    subprocess.run([*command, *how], cwd=project, env=os.environ | cache, check=True)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """The programs of a new environment with the packages of this one, and a copy of the project installed."""
    top = tmp_path_factory.mktemp("install")
    subprocess.run(
        [sys.executable, "-m", "uv", "venv", "--quiet", "--offline", "-p", sys.executable, top / "venv"], check=True
    )
    (packages,) = (top / "venv").glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text("\n".join(site.getsitepackages()))
    (top / "project").mkdir()
    install(top / "project", "--python", str(top / "venv" / "bin" / "python"), "--editable", ".")
    return top / "venv" / "bin"


def test_nothing_else_becomes_importable(environment, tmp_path):
    assert sorted(path.name for path in environment.glob("ser-mtl*")) == COMMANDS
    lines = answer(
        environment / "python",
        """
        from importlib.util import find_spec
        import ser_mtl
        from ser_mtl.local.core.errors import UserError
        print(*[name for name in ("local", "tests", "hparams", "recipes", "conftest") if find_spec(name)])
        """,
        tmp_path,
    )
    assert lines == [""]


@pytest.mark.slow
def test_the_commands_behave_as_the_modules_do(environment, other, tmp_path):
    model = tiny_folders.write(tmp_path)
    soundfile.write(tmp_path / "a.wav", tiny_folders.noise(1.3), 16_000)
    (tmp_path / "b.wav").write_text("no audio")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(command: list[str], path: Path) -> subprocess.CompletedProcess:
        given = {"cwd": tmp_path, "env": variables | {"PYTHONPATH": str(path)}}
        return subprocess.run(command, **given, stdout=-1, stderr=-1, text=True)

    for name, words, code in (
        ("predict", ["--model", model.name, "a.wav", "b.wav", "--format", "jsonl", "--device", "cpu"], 1),
        ("compare", ["a", "b"], 2),
        ("demo", ["--model", "absent", "--port", "0"], 2),
    ):
        installed = run([str(environment / f"ser-mtl-{name}"), *words], other)
        module = run([sys.executable, "-m", f"local.{name}", *words], REPOSITORY)
        assert (installed.returncode, installed.stdout, installed.stderr) == (code, module.stdout, module.stderr), name
    usage = run([str(environment / "ser-mtl-predict")], other)
    assert usage.returncode == 2 and "try: ser-mtl-predict " in usage.stderr


@pytest.mark.slow
def test_it_also_installs_as_a_copy(tmp_path):
    (tmp_path / "project").mkdir()
    install(tmp_path / "project", "--target", str(tmp_path / "packages"), ".")
    shutil.rmtree(tmp_path / "project")
    copy = tmp_path / "packages" / "ser_mtl"
    files = {path.relative_to(copy) for path in copy.rglob("*.*")}
    ours = {
        path.relative_to(REPOSITORY)
        for path in (REPOSITORY / "local").rglob("*.*")
        if path.suffix not in (".pyc", ".md")
    }
    assert ours <= files
    script = "import ser_mtl.local.core.errors as errors; print(errors.__file__)"
    (line,) = answer(sys.executable, script, tmp_path, PYTHONPATH=str(tmp_path / "packages"))
    assert line == str(copy / "local" / "core" / "errors.py")
