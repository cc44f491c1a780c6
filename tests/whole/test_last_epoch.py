"""`--last-epoch`: what the last epoch gives on the test set is reported, and nothing else changes to the byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from sklearn.metrics import accuracy_score, f1_score, recall_score
from stages import run_stages
from table3_rows import EMOTIONS, EXPERIMENTS, TESTED, run, workplace, write_corpus
from written_experiments import table_of

from local.config import hparams
from local.experiment.borrowed import borrow
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.pages.table3 import LAST, all_rows
from local.scoring.scored import load

EXPERIMENT = EXPERIMENTS / "early"
RUN = EXPERIMENT / "seed1" / TESTED
ASKED = ("--last-epoch", "true")
OF_LAST = {"last_epoch", "last_wa", "last_ua", "last_wf1"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """The table of a corpus of three speakers."""
    return write_corpus(tmp_path_factory.mktemp("sounds"), {"A": 12, "B": 8, "C": 12}, odd=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sounds):
    """A folder with a run that is trained, decoded and scored, whose last epoch is a worse one: patience is 1."""
    place = tmp_path_factory.mktemp("trained")
    with workplace(place, sounds) as given:
        run_stages(words(given), "train", "decode", "score")
        epochs = pd.read_csv(RUN / "epochs.csv")["epoch"].tolist()
        assert json.loads((RUN / "decode.json").read_text())["facts"]["epoch"] == epochs[-2] and len(epochs) < 40
    return place


@pytest.fixture
def given(trained, tmp_path, sounds, monkeypatch) -> list[str]:
    """The options of that run, in a copy of its folder, which is the current one."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return ["--corpus", "csv", "--data", str(sounds), "--folds", TESTED]


def words(given: list[str], *more: str, name: str = "early", **changed: object) -> list[str]:
    values = {"patience": 1, "lr": 0.05, "batch_size": 4, "device": "cpu", "precision": "fp32"} | changed
    overrides = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    return [*given, "--hparams", "hparams/statistics.yaml", "--name", name, *more, "--", *overrides]


def contents(folder: Path = EXPERIMENT) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}


def last_checkpoint(run: Path = RUN) -> Path:
    """The folder of the checkpoint with the highest epoch, as its CKPT.yaml says."""
    metas = {path.parent: yaml.safe_load(path.read_text()) for path in (run / "save").glob("*/CKPT.yaml")}
    return max(metas, key=lambda folder: metas[folder]["epoch"])


def posteriors_by_hand(checkpoint: Path, sounds: Path) -> pd.DataFrame:
    """Those of every tested utterance by itself, with the weights in a checkpoint."""
    system = hparams.build((RUN / "hyperparams.yaml").read_text())["system"].eval()
    system.load_state_dict(torch.load(checkpoint / "system.ckpt"))
    table = pd.read_csv(sounds)
    table = table[table["spk_id"] == TESTED].set_index("ID").sort_index()
    rows = []
    for name in table["wav"]:
        wav = torch.from_numpy(soundfile.read(sounds.parent / name, dtype="float32")[0])[None]
        with torch.no_grad():
            rows.append(system(wav, torch.tensor([wav.shape[1]])).emotion[0].softmax(0).numpy())
    return table[["emo"]].assign(**dict(zip([f"p_{emotion}" for emotion in EMOTIONS], np.array(rows).T, strict=True)))


def test_the_last_epochs_figures_are_those_of_its_weights_and_all_others_stay(given, sounds):
    before = contents()
    run_stages(words(given, *ASKED), "decode")
    after = contents()
    assert {name: after[name] for name in before} == before
    assert {Path(name).name for name in after.keys() - before.keys()} == {"predictions_last.csv", "decode_last.json"}

    mine = posteriors_by_hand(last_checkpoint(), sounds)
    written = pd.read_csv(RUN / "predictions_last.csv", index_col="ID")
    heads = [f"p_{emotion}" for emotion in EMOTIONS]
    np.testing.assert_allclose(written[heads], mine[heads], atol=1e-5)
    chosen = pd.read_csv(RUN / "predictions.csv", index_col="ID")
    assert np.abs(chosen[heads] - mine[heads]).to_numpy().max() > 1e-3

    run_stages(words(given, *ASKED), "score")
    folds, summary = (pd.read_csv(EXPERIMENT / f"{name}.csv").iloc[0] for name in ("folds", "summary"))
    truth, guess = mine["emo"], mine[heads].idxmax(axis=1).str.removeprefix("p_")
    mine = {"wa": accuracy_score(truth, guess), "ua": recall_score(truth, guess, average="macro")}
    mine["wf1"] = f1_score(truth, guess, average="weighted")
    for of in (folds, summary):
        assert {name: of[f"last_{name}"] for name in mine} == pytest.approx(mine)
    assert folds["last_epoch"] == folds["epoch"] + 1
    said = f"Last epoch ({folds['last_epoch']}), reported and nothing else: pooled WA {100 * mine['wa']:.2f}, UA "
    assert said in (EXPERIMENT / "RESULTS.md").read_text()
    for name in ("folds.csv", "summary.csv"):  # the columns that were there
        then = pd.read_csv(Path(EXPERIMENT, name), dtype=str).drop(columns=OF_LAST, errors="ignore")
        assert then.to_csv(index=False, lineterminator="\n").encode() == before[str(EXPERIMENT / name)]
    shown = {row["experiment"]: row for row in table_of(all_rows([load(EXPERIMENT)]).markdown("COMMAND"))}
    assert shown["early"][LAST] == f"{100 * mine['ua']:.2f}"


def test_it_is_done_once_and_a_run_without_it_is_as_it_was(given):
    assert "last" not in "".join(path.name for path in RUN.iterdir())
    assert OF_LAST.isdisjoint(pd.read_csv(EXPERIMENT / "summary.csv"))
    assert LAST not in all_rows([load(EXPERIMENT)]).markdown("COMMAND")
    plain, asked = (Job.all(parse(words(given, *more)))[0] for more in ((), ASKED))
    assert plain.is_done("decode") and not asked.is_done("decode")
    run_stages(words(given, *ASKED), "decode")
    assert plain.is_done("decode") and asked.is_done("decode")
    (RUN / "predictions_last.csv").unlink()
    assert plain.is_done("decode") and not asked.is_done("decode")


def test_a_checkpoint_that_is_not_the_last_epochs_is_refused(given, capsys):
    """Lost, damaged, or another training's of this epoch; the one before, which is there, is not taken for it."""
    last, asked = last_checkpoint(), words(given, *ASKED)
    kept, number = Path(shutil.copytree(last, "kept")), yaml.safe_load((last / "CKPT.yaml").read_text())["epoch"]
    run_stages(words(given, name="other", lr=1e-6, patience=0, epochs=number), "train")
    other = last_checkpoint(EXPERIMENTS / "other" / "seed1" / TESTED)
    assert yaml.safe_load((other / "CKPT.yaml").read_text())["epoch"] == number
    damaged = Path(shutil.copytree(last, "damaged"))
    weights = bytearray((damaged / "system.ckpt").read_bytes())
    weights[len(weights) // 2] ^= 1
    (damaged / "system.ckpt").write_bytes(weights)
    lacks = f"lacks the checkpoint of epoch {number}, the last of its epochs.csv\n  try: remove {RUN / 'train.json'}"
    for found, reason in ((None, lacks), (damaged, "is damaged: the checksum of system.ckpt differs"), (other, lacks)):
        shutil.rmtree(last, ignore_errors=True)
        if found:
            shutil.copytree(found, last)
        with pytest.raises(SystemExit) as ended:
            run_stages(asked, "decode")
        assert ended.value.code == 2 and reason in capsys.readouterr().err
        assert not (RUN / "predictions_last.csv").exists() and not (RUN / "decode_last.json").exists()
    shutil.rmtree(last)
    shutil.copytree(kept, last)
    run_stages(asked, "decode")
    assert (RUN / "predictions_last.csv").exists()


def test_predictions_of_an_earlier_training_are_not_scored(given, capsys):
    run_stages(words(given, *ASKED), "decode")
    shutil.copytree(RUN, "earlier")
    run_stages(words(given, "--force", "true", lr=0.02), "train")
    assert not (RUN / "predictions_last.csv").exists()
    run_stages(words(given, lr=0.02), "decode", "score")
    assert OF_LAST.isdisjoint(pd.read_csv(EXPERIMENT / "summary.csv"))
    for name in ("predictions_last.csv", "decode_last.json"):
        shutil.copy(Path("earlier", name), RUN / name)
    with pytest.raises(SystemExit) as ended:
        run_stages(words(given, lr=0.02), "score")
    assert ended.value.code == 2 and "run stage 3 with --last-epoch true" in capsys.readouterr().err


def test_where_the_last_epoch_is_the_chosen_one_its_figures_are_the_same(given):
    short = words(given, *ASKED, name="short", selection="last", patience=0, epochs=2)
    run_stages(short, "train", "decode", "score")
    assert not (EXPERIMENTS / "short" / "seed1" / TESTED / "predictions_last.csv").exists()
    summary = pd.read_csv(EXPERIMENTS / "short" / "summary.csv").iloc[0]
    for name in ("wa", "ua", "wf1"):
        assert summary[f"last_{name}"] == summary[name]


def test_a_closed_form_has_no_last_epoch(given):
    folder = run([*given, *ASKED], "logmel_logistic", "train", "decode", "score").parents[1]
    summary = pd.read_csv(folder / "summary.csv").iloc[0]
    assert OF_LAST - {"last_epoch"} <= {*summary.index} and np.isnan(summary["last_ua"])
    assert "Last epoch: none, as the training is, or ends in, a closed form." in (folder / "RESULTS.md").read_text()
    run_stages(words(given, *ASKED), "decode", "score")
    made_of = all_rows([load(EXPERIMENT), load(folder)])
    shown = {row["experiment"]: row for row in table_of(made_of.markdown("COMMAND"))}
    assert shown["logmel_logistic"][LAST] == "–" != shown["early"][LAST]
    assert sum(note.startswith(LAST) for note in made_of.notes) == 1


def test_on_another_corpus_it_is_that_epoch_as_well(given, sounds, tmp_path):
    """The other corpus is the tested speaker's sounds under another name, so the posteriors are the same."""
    shutil.copytree(sounds.parent, tmp_path / "other")
    table = pd.read_csv(sounds)
    other = table[table["spk_id"] == TESTED].assign(spk_id=["A", "B"] * 6)
    for name in other["wav"]:  # the same samples, but no file that the corpora share
        wav, rate = soundfile.read(sounds.parent / name, dtype="int16")
        soundfile.write(tmp_path / "other" / name, wav, rate, "PCM_24")
    other.to_csv(tmp_path / "other" / "other.csv", index=False)
    run_stages(["--corpus", "csv", "--data", str(tmp_path / "other" / "other.csv")], "prepare")
    run_stages(words(given, *ASKED), "decode")
    elsewhere = words(given, *ASKED, "--test-corpus", "other")
    borrow(parse(elsewhere).tested())
    run_stages(elsewhere, "decode", "score")
    (there,) = Path("results/other").glob(f"*/early/seed1/{TESTED}/predictions_last.csv")
    heads = [f"p_{emotion}" for emotion in EMOTIONS]
    here = pd.read_csv(RUN / "predictions_last.csv")[heads]
    np.testing.assert_allclose(pd.read_csv(there)[heads], here, atol=1e-6)
    assert "Last epoch (" in (there.parents[2] / "RESULTS.md").read_text()
