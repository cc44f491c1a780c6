"""The plan of the house: who may import whom, no circles, nobody imports a command, tests mirror `local/`."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from paths import REPOSITORY

LOCAL, TESTS = REPOSITORY / "local", REPOSITORY / "tests"
ALLOWED = {  # wing: the wings that its files may import, besides its own
    "core": "",
    "audio": "core",
    "text": "core",
    "config": "core",
    "corpora": "core audio text",
    "splits": "core corpora",
    "encoders": "core audio",
    "features": "core audio encoders",
    "systems": "core text encoders features",
    "scoring": "core text config corpora",
    "experiment": "core text config corpora splits",
    "data": "core audio text corpora encoders features systems",
    "training": "core text systems data scoring experiment",
    "jobs": "core config experiment",
    "pages": "core config corpora splits scoring experiment",
    "inference": "core audio text encoders systems data scoring",
    "deploy": "core audio text config corpora splits encoders features systems scoring experiment data training pages "
    "inference",
}
WINGS = sorted(ALLOWED)
COMMANDS = [*sorted({path.stem for path in LOCAL.glob("*.py")} - {"__init__"}), "benchmark"]
KERNELS = "local.encoders.kernels"


def module_name(path: Path) -> str:
    """`local/core/files.py` -> `local.core.files`, and a wing's `__init__.py` -> the wing."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for path in LOCAL.rglob("*.py")}


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules of the project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            # `from local.core import files` names a module, `from local.core.files import atomic` one and a function.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return frozenset(name for name in found if name == "local" or name.startswith("local."))


def wing(module: str) -> str:
    """`local.core.files` -> `core`; of a command its own name."""
    return module.split(".")[1]


def test_every_folder_is_a_wing_of_the_table_and_every_file_a_command():
    folders = {path.name for path in LOCAL.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*WINGS, "benchmark", "shell"}
    for name in COMMANDS[:-1]:
        text = (LOCAL / f"{name}.py").read_text(encoding="utf-8")
        assert "\ndef main() -> None:" in text and 'if __name__ == "__main__":' in text, name
        assert f"python -m local.{name}" in text, f"{name} does not say how it is called"


@pytest.mark.parametrize("name", WINGS)
def test_a_wing_imports_only_wings_that_it_may(name):
    may = {name, *ALLOWED[name].split()}
    for module, path in FILES.items():
        if module.startswith(f"local.{name}.") or module == f"local.{name}":
            assert {wing(other) for other in imported(path)} <= may, module


def test_the_table_has_no_circle():
    order = list(TopologicalSorter({name: may.split() for name, may in ALLOWED.items()}).static_order())
    assert set(order) == set(WINGS)


def test_files_import_each_other_in_no_circle():
    # A file and the `__init__` of its own wing may know each other: Python has the wing before its files.
    graph = {
        module: {other for other in imported(path) if not module.startswith(f"{other}.")}
        for module, path in FILES.items()
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the files


def test_nobody_imports_a_command():
    for module, path in FILES.items():
        own = "benchmark" if module.startswith("local.benchmark") else ""  # a command with rooms of its own
        commands = {other for other in imported(path) if other != "local" and wing(other) in COMMANDS}
        assert {wing(other) for other in commands} <= {own}, f"{module} imports {commands}"


def test_files_of_text_are_utf_8_whatever_the_locale():
    for module, path in FILES.items():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith((".read_text", ".write_text")):
                assert "utf-8" in ast.unparse(call), f"{module}: {ast.unparse(call)}"


def test_the_faster_kernels_have_one_door():
    users = {module for module, path in FILES.items() if any(name.startswith(KERNELS) for name in imported(path))}
    assert {user for user in users if not user.startswith("local.encoders.")} <= {"local.benchmark.ways"}


def is_guard(node: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def loaded(module: str, seen: dict[str, None], first: bool = False) -> dict[str, None]:
    """The modules, also of other projects, that importing one of ours loads: not those imported within functions.

    With `first`, those that its process loads before it reads its command line, which a guard may do on its way.
    """
    if module in FILES and module not in seen:
        seen[module] = None
        body = ast.parse(FILES[module].read_text(encoding="utf-8")).body
        for node in itertools.takewhile(lambda node: not (first and is_guard(node)), body):
            if isinstance(node, ast.ImportFrom):
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                for name in (node.module, *(name for name in names if name in FILES)):
                    loaded(name, seen)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    loaded(alias.name, seen)
    seen[module] = None
    return seen


# Whole seconds each, but numpy.
HEAVY = ("numpy", "pandas", "scipy", "sklearn", "matplotlib", "torch", "transformers", "speechbrain", "gradio")


@pytest.mark.parametrize(
    "name", ["benchmark", "compare", "corpora", "demo", "export", "paper", "predict", "referee", "report"]
)
def test_help_comes_before_all_that_takes_seconds_to_load(name):
    command = [sys.executable, "-X", "importtime", "-m", f"local.{name}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: python -m local.{name} ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported and not imported & {*HEAVY}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_command_line_is_read_before_anything_heavy_is_loaded(name):
    module = f"local.{name}.__main__" if f"local.{name}.__main__" in FILES else f"local.{name}"
    modules = loaded(module, {}, first=True)
    assert "local.core.errors" in modules and not {each.partition(".")[0] for each in modules} & {*HEAVY}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --protocol bogus", "error: --protocol 'bogus' is not known"),
        ("launch decode --corpus nemo --seeds one", "error: --seeds 'one' is not a whole number of at least 0"),
        ("launch --folds 01F", "error: '--folds' is no step"),
    ],
)
def test_wrong_options_are_refused_before_all_that_takes_seconds_to_load(words, said):
    command = [sys.executable, "-X", "importtime", "-m", *f"local.{words}".split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported and not imported & {*HEAVY}


@pytest.mark.parametrize("command", ["train", "decode", "check"])
def test_a_job_loads_transformers_only_with_an_encoder(command):  # it takes longer than all else but torch
    modules = loaded(f"local.{command}", {})
    assert "torch" in modules and "local.encoders.base" in modules
    assert not {name for name in modules if name.split(".")[0] == "transformers"}


def test_tests_mirror_the_house():
    for path in TESTS.rglob("test_*.py"):
        where = path.parent.relative_to(TESTS).as_posix()
        assert where in {".", "whole", "benchmark", *WINGS} or where.rpartition("/")[0] in WINGS, path
        if where not in {".", "whole", "benchmark"}:
            subject = path.stem.removeprefix("test_")
            assert (LOCAL / where / f"{subject}.py").exists() or (LOCAL / where / subject).is_dir(), path
        elif where == ".":
            assert path.stem.removeprefix("test_") in COMMANDS, path


def test_no_test_file_imports_another():
    support = {path.stem for path in (TESTS / "support").glob("*.py")}
    for path in TESTS.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        assert not {name for name in names if name.startswith("test_") or name == "conftest"}, path
    assert support
