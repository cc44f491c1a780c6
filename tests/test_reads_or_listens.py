"""`local.reads_or_listens`: which texts are spoken, and its words."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from stages import run_stages
from table3_rows import EXPERIMENTS, run, workplace, write_corpus
from written_experiments import write_experiment

from local import reads_or_listens as command
from local.core.errors import UserError
from local.experiment.job import Job
from local.inference.items import Item


def test_texts_are_drawn_by_their_ids_each_once_for_an_emotion():
    rows = [(f"u{at}", ("ang", "sad")[at % 2], f"It is number {at // 4}. {{LG}}") for at in range(40)]
    table = pd.DataFrame([*rows, ("none", "ang", "[BREATHING]"), ("empty", "sad", "")], columns=["ID", "emo", "wrd"])
    found = command.chosen_texts(table, 6)
    assert found["text_emo"].value_counts().to_dict() == {"ang": 6, "sad": 6}
    assert not found.duplicated(["text_emo", "words"]).any() and found["text"].str.fullmatch(r"It is number \d\.").all()
    assert set(found["words"]) <= {f"IT IS NUMBER {number}" for number in range(10)}
    pd.testing.assert_frame_equal(command.chosen_texts(table.sample(frac=1, random_state=1), 6), found)
    assert len(command.chosen_texts(table, 100)) == 20


def test_every_text_is_spoken_in_every_manner_that_is_known():
    texts = pd.DataFrame([{"words": "YES", "text": "Yes.", "text_emo": "cal"}])
    speech = command.spoken(texts, "en-us", ["cal", "hap", "sad"])
    assert [row["manner"] for row, _ in speech] == ["neu", "hap", "sad"]
    assert all(row["text_emo"] == "cal" and len(samples) > 1600 for row, samples in speech)


def test_the_voice_is_that_of_the_corpus(monkeypatch):
    assert [command.voice_of(corpus) for corpus in ("nemo", "iemocap", "emodb@4class")] == ["pl", "en-us", "de"]
    with pytest.raises(UserError, match="the language of own is not known"):
        command.voice_of("own")
    monkeypatch.setattr(sys, "argv", ["reads_or_listens", "x", "--sentences", "0"])
    with pytest.raises(UserError, match="--sentences 0 is not"):
        command.words()


def test_emotions_that_were_not_trained_are_refused(tmp_path, command):
    folder = write_experiment(tmp_path, "iemocap/speaker/texts", emotion_weight=0)
    code, _, errors = command("reads_or_listens", folder)
    assert code == 2 and errors.startswith(f"error: {folder}: emotions were not trained (emotion_weight 0)")


def test_experiments_with_other_test_sets_are_refused_before_they_are_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(Job, "of_run", lambda run: SimpleNamespace(manifests=tmp_path / run.parent.name / run.name))

    def experiment(name: str, tests: dict[str, str]) -> SimpleNamespace:
        for fold, content in tests.items():
            (tmp_path / name / fold).mkdir(parents=True)
            (tmp_path / name / fold / "test.csv").write_text(content)
        return SimpleNamespace(folder=Path(name), runs=[Path(name, fold) for fold in tests])

    speaker, again = (experiment(name, {"A": "a", "B": "b"}) for name in ("speaker", "again"))
    command.refuse_other_tests([speaker, again])
    for name, tests in (("held", {"A": "other", "B": "b"}), ("fewer", {"A": "a"})):
        with pytest.raises(UserError, match=f"{name} has other folds or test sets than speaker"):
            command.refuse_other_tests([speaker, again, experiment(name, tests)])


@pytest.mark.slow
def test_a_model_whose_output_is_not_finite_is_refused(monkeypatch):
    system = SimpleNamespace(tasks={})
    analyzer = SimpleNamespace(device="cpu", model=SimpleNamespace(system=system))
    monkeypatch.setattr("local.deploy.gather.load_trained", lambda run: run)
    monkeypatch.setattr("local.inference.analyzer.Analyzer", lambda *_: analyzer)
    unfit = [(Item("", error="the model's output is not finite in fp32"), None)]
    monkeypatch.setattr("local.inference.items.analyze_items", lambda *_: iter(unfit))
    with pytest.raises(UserError, match="seed1/A: the model's output is not finite"):
        command.heard(Path("seed1/A"), [({"text": "A"}, np.zeros(100, np.float32))], None)


def test_of_two_trained_models(tmp_path, capsys):
    """A system that has never heard text still gets its figures; a row for each text, manner and model."""
    table = write_corpus(tmp_path / "data", {"A": 8, "B": 8, "C": 8})
    (tmp_path / "place").mkdir()
    with workplace(tmp_path / "place", table) as words:
        for name in ("one", "two"):
            run(words, "logmel_logistic", "train", "decode", "score", name=name)
        folders = [str(EXPERIMENTS / name) for name in ("one", "two")]
        run_stages(
            [*folders, "--voice", "en-us", "--out", "x.md", "--csv", "x.csv", "--wavs", "wavs"], "reads_or_listens"
        )
        rows, printed = pd.read_csv("x.csv"), capsys.readouterr().out
        assert len(rows) == 2 * 4 * 4 and set(rows["manner"]) == {"ang", "hap", "neu", "sad"}  # "SO" of each emotion
        assert rows[["p_ang", "p_hap", "p_neu", "p_sad"]].sum(axis=1).between(0.999, 1.001).all()
        assert len(list((tmp_path / "place" / "wavs").glob("A_*.wav"))) == 16
        text = (tmp_path / "place" / "x.md").read_text(encoding="utf-8")
        assert printed.endswith(text)
        assert re.search(r"^\| two \| words, neutral voice \| -?0.00 \|", text, re.M)  # one text tells nothing
