"""Every row of Table 3, trained for an epoch: what it is in use, and that nothing of it comes from the test set.

The set-up is that of test_all_rows.py. All of it is slow.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.special import softmax
from stages import run_stages
from system_checks import RATE
from table3_rows import EMOTIONS, EXPERIMENTS, TESTED, YAMLS, chosen, run, workplace, write_corpus

from local.audio import recordings
from local.deploy.onnx import Runner
from local.encoders.base import pad_batch
from local.inference.demo_page.analysis import analyze
from local.inference.demo_page.results import View
from local.inference.recognizer import EmotionRecognizer
from local.scoring import predictions

pytestmark = pytest.mark.slow
STAGES = ("train", "decode")
# Of those that have no ONNX file, what the line says that tells it.
ONE_BY_ONE, NO_GRAPH = "the front end {} computes one utterance after another", "exporter cannot write {} "
WITHOUT_GRAPH = {
    "egemaps_svm": ONE_BY_ONE.format("Functionals" if find_spec("opensmile") else "StandIn"),
    "liu_local_global": NO_GRAPH.format("LiuLocalGlobal"),
    "lu_asr_attention": NO_GRAPH.format("AsrAttentionSystem"),
    "pappagari_xvector": ONE_BY_ONE.format("KaldiMfcc"),
    "peng_asrnn": ONE_BY_ONE.format("Auditory"),
    "sajjad_key_segments": NO_GRAPH.format("KeySegmentSystem"),
    "wang_dual_lstm": ONE_BY_ONE.format("MelPairs"),
    "wu_capsules": NO_GRAPH.format("WuCapsules"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The table of the corpus, with the files of `table3_rows.write_corpus` that are no usual ones."""
    return write_corpus(tmp_path_factory.mktemp("sounds"), {"A": 4, "B": 4, "C": 4})


@pytest.fixture(scope="module")
def words(tmp_path_factory, data) -> list[str]:
    with workplace(tmp_path_factory.mktemp("rows"), data) as given:
        yield given


def trained(words: list[str], row: str) -> Path:
    """The run folder of a row, which is trained and decoded unless that is done."""
    run_folder = EXPERIMENTS / row / "seed1" / TESTED
    if not (run_folder / "decode.json").exists():
        run(words, row, *STAGES)
    return run_folder.resolve()


# ---------------------------------------------------------------- the test set


@pytest.fixture(scope="module")
def altered(words, tmp_path_factory, data):
    """Train a row where the files of a speaker are noise, of other lengths, with each other's emotions: run folder."""
    places: dict[str, tuple[Path, list[str]]] = {}

    def make(speaker: str) -> tuple[Path, list[str]]:
        folder, place = tmp_path_factory.mktemp(f"without{speaker}"), tmp_path_factory.mktemp(f"rows{speaker}")
        shutil.copytree(data.parent, folder, dirs_exist_ok=True)
        table, chance = pd.read_csv(data), np.random.default_rng(1)
        theirs = table["spk_id"] == speaker
        for number, name in enumerate(table["wav"][theirs]):
            soundfile.write(folder / name, 0.1 * chance.standard_normal(RATE + 1000 * number), RATE)
        table.loc[theirs, "emo"] = table["emo"][theirs].to_numpy()[::-1]
        table.to_csv(folder / data.name, index=False)
        with workplace(place, folder / data.name) as given:
            return place, given

    def train(row: str, speaker: str) -> Path:
        if speaker not in places:
            places[speaker] = make(speaker)
        place, given = places[speaker]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            return run(given, row, *STAGES).resolve()

    return train


def differing(one: Path, other: Path) -> list[str]:
    """Which tensors differ of the chosen checkpoints of two runs."""
    tensors, others = chosen(one), chosen(other)
    assert tensors.keys() == others.keys() and any(name.startswith("/system/") for name in tensors)
    return [name for name in tensors if not torch.equal(tensors[name], others[name])]


def posteriors(run_folder: Path) -> pd.DataFrame:
    """What stage 3 wrote, by utterance."""
    return predictions.read(run_folder / "predictions.csv").set_index("ID").filter(like=predictions.POSTERIOR)


@pytest.mark.parametrize("row", YAMLS)
def test_no_tensor_follows_from_the_test_files(words, altered, row):
    one, other = trained(words, row), altered(row, TESTED)
    assert differing(one, other) == []
    assert row == "majority" or (posteriors(one) - posteriors(other)).abs().max().max() > 0  # they are others


@pytest.mark.parametrize("row", ["logmel_logistic", "lu_asr_attention"])
def test_tensors_follow_from_the_training_files(words, altered, row):
    assert len(differing(trained(words, row), altered(row, "C"))) > 1


# ---------------------------------------------------------------- the model folder


class InUse(NamedTuple):
    """The model folder of a row; files of the test set by their utterances; what stage 3 wrote of these."""

    model: Path
    files: dict[str, Path]
    expected: pd.DataFrame

    def assert_expected(self, name: str, found: Iterable[float]) -> None:
        assert list(found) == pytest.approx(self.expected.loc[name].tolist(), abs=1e-4), name


@pytest.fixture(scope="module")
def exports() -> dict[str, InUse]:
    return {}


@pytest.fixture
def in_use(words, data, exports, row, tmp_path_factory, monkeypatch, capsys):
    """A row as it is used, in a folder of its own: all that the pipeline made, and the corpus, are out of reach."""
    place = Path.cwd()
    if row not in exports:
        folder, run_folder = tmp_path_factory.mktemp(row), trained(words, row)
        run_stages([str(run_folder), str(folder / "model")], "export")
        assert "def forward" not in capsys.readouterr().err  # the graph of a failure of PyTorch's exporter
        table = pd.read_csv(data).query("spk_id == @TESTED").set_index("ID")["wav"]
        files = {name: Path(shutil.copy(data.parent / wav, folder)) for name, wav in table.items()}
        exports[row] = InUse(folder / "model", files, posteriors(run_folder))
    monkeypatch.chdir(exports[row].model.parent)
    moved = [(folder.rename(folder.with_name(f"{folder.name}.moved")), folder) for folder in (place, data.parent)]
    yield exports[row]
    for there, folder in moved:
        there.rename(folder)


@pytest.mark.parametrize("row", YAMLS)
def test_predict_says_of_files_what_stage_3_said(in_use, capsys, monkeypatch):
    names = "".join(f"{path}\n" for path in in_use.files.values()).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names), encoding="utf-8"))
    with pytest.raises(SystemExit) as end:
        run_stages(["--model", str(in_use.model), "--format", "csv", "-"], "predict")
    assert end.value.code == 0
    lines = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="file")
    assert len(lines) == len(in_use.expected) == 4
    for name, path in in_use.files.items():
        line = lines.loc[str(path)]
        in_use.assert_expected(name, line[in_use.expected.columns])
        assert f"{predictions.POSTERIOR}{line['emotion']}" == in_use.expected.loc[name].idxmax()


@pytest.mark.parametrize("row", YAMLS)
def test_the_demos_recognizer_says_what_stage_3_said(in_use):
    recognizer = EmotionRecognizer.from_hparams(in_use.model)
    view = View({label: label for label in EMOTIONS}, recognizer.writes_text)
    for name, path in in_use.files.items():
        analysis = recognizer.analyze(path)
        in_use.assert_expected(name, analysis.posteriors.values())
        for over_time in (False, True):
            found = analyze(recognizer, view, str(path), over_time, lambda: True, lambda share: None)
            *_, (summary, _) = found
            assert over_time or analysis.emotion in summary


@pytest.mark.parametrize("row", YAMLS)
def test_the_graph_says_what_stage_3_said_or_why_there_is_none(in_use, row):
    path = in_use.model / "model.onnx"
    if row in WITHOUT_GRAPH:
        assert not path.exists() and WITHOUT_GRAPH[row] in (in_use.model / "README.md").read_text()
        return
    runner, wavs = Runner(path, threads=1), [recordings.read(each).wav for each in in_use.files.values()]
    expected = in_use.expected.loc[[*in_use.files]].to_numpy()
    for some in (slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(0, 4)):
        lengths = np.array([len(wav) for wav in wavs[some]])
        found = runner(pad_batch(wavs[some]).numpy(), lengths)["emotion"]
        np.testing.assert_allclose(softmax(found, axis=1), expected[some], rtol=0, atol=1e-4)
