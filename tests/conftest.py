"""Shared fixtures: a table of IEMOCAP's full size, and a workplace with a small corpus of one's own."""

from __future__ import annotations

import csv
import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from filelock import FileLock
from iemocap_tree import full_release
from paths import REPOSITORY

from local.core import garbage, logs
from local.corpora import Corpus, iemocap
from local.experiment.command_line import parse
from local.folds import make_folds
from local.prepare import prepare

LONG = ("slurm", "survival", "pipeline", "distributed", "onnx", "recipes", "checkpoints", "rerun")
Run = Callable[..., subprocess.CompletedProcess]
Command = Callable[..., tuple[int, str, str]]


def pytest_configure() -> None:
    """Begin with signals that end a process: what runs in the background may have been given them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    garbage.ignore()  # until all modules are imported


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that all cores are busy until the end."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)
    # Hypothesis asks every module for its file, at which SpeechBrain's lazy ones would be imported; some cannot be.
    if lazy := sys.modules.get("speechbrain.utils.importutils"):
        lazy.LazyModule.__file__ = None


def pytest_collection_finish() -> None:
    """Keep what all those modules have made out of garbage collections: a twentieth of the time."""
    garbage.collect()


@pytest.fixture(scope="session")
def iemocap_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A release of full size, in the corpus's true counts: made and read once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    read = folder / "iemocap.pickle"
    with FileLock(f"{read}.lock"):
        if not read.exists():
            (folder / "iemocap").mkdir()
            read.write_bytes(pickle.dumps(iemocap.read(full_release(folder / "iemocap"))))
    return pickle.loads(read.read_bytes())


@pytest.fixture(scope="session")
def iemocap_table(iemocap_corpus: Corpus) -> pd.DataFrame:
    """The 5,531 utterances of a release of full size, sorted."""
    return iemocap_corpus.table.sort_values("ID", ignore_index=True)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the repository's YAMLs, which is the current one: stages write below it."""
    folder = tmp_path / "workplace"
    shutil.copytree(REPOSITORY / "hparams", folder / "hparams")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with own.csv and its audio (see `own_table`), not to be changed."""
    folder = tmp_path_factory.mktemp("own") / "data"
    (folder / "wav").mkdir(parents=True)
    words = ("well then", "not at all", "so be it", "how odd")
    with open(folder / "own.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ID", "wav", "emo", "wrd", "spk_id", "session", "recording"])
        for number in range(48):
            session, dialogue, speaker = 1 + number // 24, number % 24 // 4, "AB"[number // 2 % 2]
            text = words[number % 4] + (" zigzag" if (session, speaker) == (2, "B") else "")
            name = f"{session}{dialogue}{speaker}{number % 2}"
            soundfile.write(folder / "wav" / f"{name}.wav", 0.1 * np.sin(np.arange(2000 + 20 * number) / 9), 16_000)
            emotion = ("ang", "hap", "sad")[number % 3]
            rows.writerow([name, f"wav/{name}.wav", emotion, text, f"{session}{speaker}", f"s{session}", name[:2]])
    return folder


@pytest.fixture
def own_table(tmp_path: Path, own_data: Path) -> Path:
    """The table own.csv of 48 utterances: two sessions of 6 dialogues, in each of which both of the
    session's two speakers say two. Only speaker 2B says a word with a Z.
    """
    shutil.copytree(own_data, tmp_path / "data")
    return tmp_path / "data" / "own.csv"


@pytest.fixture(scope="session")
def own_manifests(tmp_path_factory: pytest.TempPathFactory, own_data: Path) -> Path:
    """The folder manifests that stages 0 and 1 make of own.csv with the YAML of the mini corpus, not to be changed."""
    folder = tmp_path_factory.mktemp("own_manifests")
    shutil.copytree(REPOSITORY / "hparams", folder / "hparams")
    options = parse(
        ["--corpus", "csv", "--data", str(own_data / "own.csv"), "--hparams", f"{folder}/hparams/mini.yaml"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare(options)
        make_folds(options)
    return folder / "manifests"


@pytest.fixture
def own_corpus(workplace: Path, own_table: Path, own_data: Path, own_manifests: Path) -> list[str]:
    """The options of own.csv in the workplace, where stages 0 and 1 are done (protocol `speaker`)."""
    shutil.copytree(own_manifests, workplace / "manifests")
    marker = workplace / "manifests" / "own" / "all.json"
    marker.write_text(marker.read_text().replace(str(own_data.resolve()), str(own_table.parent.resolve())))
    return ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A file that must not be there at the end."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists()


@pytest.fixture
def every_lock_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what a path.sh has said already."""
    for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tf32_switches() -> Iterator[Callable[[], dict[str, str | bool]]]:
    """All of PyTorch's switches for TF32, older and newer, read by a function; reset afterwards."""
    import torch

    from local.data.device import use_precision

    backends = torch.backends

    def read() -> dict[str, str | bool]:
        newer = {name: getattr(backends.cudnn, name).fp32_precision for name in ("conv", "rnn")}
        older = {"matmul_flag": backends.cuda.matmul.allow_tf32, "cudnn_flag": backends.cudnn.allow_tf32}
        return newer | {"matmul": backends.cuda.matmul.fp32_precision} | older

    yield read
    backends.fp32_precision = "none"
    use_precision("fp32")


@pytest.fixture
def command(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Command:
    """Run the `main` of a command in the workplace, in this process: exit code, stdout, stderr."""

    def run(name: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        monkeypatch.setattr(logs, "log_to_stderr", lambda: None)  # which would keep this test's stderr
        capsys.readouterr()
        code: object = 0
        try:
            importlib.import_module(f"local.{name}").main()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def module(workplace: Path) -> Run:
    """Run `python -m local.<name> ...` in the workplace."""

    def run(name: str, *words: object, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", f"local.{name}", *map(str, words)]
        variables = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
        return subprocess.run(command, cwd=workplace, env=variables, capture_output=True, text=True)

    return run
