"""Stage 7 of one job: a tiny training, and its test set under distortion."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from stages import run_stages

from local import launch, stress
from local.core.conditions import Case
from local.core.errors import UserError
from local.corpora import manifest
from local.data.distorted import Talkers
from local.experiment import borrowed
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.jobs.job_lines import result
from local.scoring import predictions

FOLDER = Path("results/own/speaker/n/seed1/1A")
ASKED = ["--name", "n", "--folds", "1A"]
STATISTICS = ["--hparams", "hparams/statistics.yaml", *ASKED, "--", "--epochs", "1", "--device", "cpu"]


def with_stress(words: list[str], asked: str, *more: str) -> list[str]:
    at = words.index("--")
    return [*words[:at], "--stress", asked, *more, *words[at:]]


def cases_in(path: Path) -> dict[tuple[str, str], pd.DataFrame]:
    table = pd.read_csv(path, dtype={"strength": str})
    return {name: rows.reset_index(drop=True) for name, rows in table.groupby(["condition", "strength"], sort=False)}


def test_a_front_end_is_given_the_distorted_audio(own_corpus, monkeypatch, caplog):
    words = [*own_corpus, *STATISTICS]
    with pytest.raises(UserError, match=r"train\.json is missing"):
        Job.all(parse(words))[0].is_done("stress")
    run_stages(words, "train", "decode")
    job = Job.all(parse(with_stress(words, "white telephone")))[0]
    cost = launch.stress_cost(job.options, ["seed1/1A"])
    assert cost == "  7 cases x 0:02 of test audio: 0:12 of audio, less what is done already"

    # A kill after some cases, and the same bytes as without.
    run_stages(with_stress(words, "white telephone"), "stress")
    expected, known = (FOLDER / "stress.csv").read_bytes(), stress.StressTest.predicted

    def killed(tested: stress.StressTest, case: Case, after) -> pd.DataFrame:
        if case == Case("white", 5):
            raise KeyboardInterrupt
        return known(tested, case, after)

    monkeypatch.setattr(stress.StressTest, "predicted", killed)
    with pytest.raises(SystemExit):
        run_stages(with_stress(words, "white telephone", "--force", "true"), "stress")
    assert sorted(path.stem for path in (FOLDER / "stress").glob("*.csv")) == [
        *("clean", "white_10", "white_15", "white_20")
    ]
    assert not job.is_done("stress") and not (FOLDER / "stress.csv").exists()
    again = []
    monkeypatch.setattr(
        stress.StressTest, "predicted", lambda tested, case, after: again.append(case) or known(tested, case, after)
    )
    run_stages(with_stress(words, "white telephone"), "stress")
    assert (FOLDER / "stress.csv").read_bytes() == expected and job.is_done("stress")
    assert again == [Case("white", 5), Case("white", 0), Case("telephone", 8)]

    # Clean answers are those of stage 3; what is distorted has others.
    clean = predictions.read(FOLDER / "predictions.csv")
    found = cases_in(FOLDER / "stress.csv")
    posteriors = [name for name in clean if name.startswith("p_")]
    assert found["clean", "0"]["ID"].tolist() == clean["ID"].tolist()
    assert found["clean", "0"][posteriors].to_numpy() == pytest.approx(clean[posteriors].to_numpy(), abs=1e-5)
    assert (found["white", "0"][posteriors] - clean[posteriors]).abs().max(axis=None) > 1e-2
    assert "wrd_hyp" not in found["clean", "0"]

    # More conditions are added to those that are done; nothing is done twice.
    again.clear()
    run_stages(with_stress(words, "babble white"), "stress")
    assert [case.condition for case in again] == ["babble"] * 5 and len(cases_in(FOLDER / "stress.csv")) == 12
    assert re.fullmatch(r"12 cases, clean n 12 WA .+, lowest WA \d.+", result(FOLDER, "stress"))
    assert Job.all(parse(with_stress(words, "telephone")))[0].is_done("stress")
    again.clear()
    monkeypatch.setattr("local.audio.distortions.writes_mp3", lambda: False)
    run_stages(with_stress(words, "mp3"), "stress")
    assert not again and "mp3 is left out: libsndfile writes no MP3 here" in caplog.text
    assert not Job.all(parse(with_stress(words, "mp3")))[0].is_done("stress")  # it may be possible now


def test_two_folds_are_pooled_and_one_that_lacks_a_case_is_named(own_corpus):
    words = [word.replace("1A", "1A 2B") for word in (*own_corpus, *STATISTICS)]
    run_stages(words, "train", "decode", "score")
    words = with_stress(words, "gain clipping")
    run_stages(words, "stress", "stress_report")
    experiment = FOLDER.parents[1]
    folds = [pd.read_csv(experiment / "seed1" / fold / "stress.csv") for fold in ("1A", "2B")]
    tested = pd.concat(folds)
    assert set(tested.groupby(["condition", "strength"]).size()) == {24}
    truth = manifest.read(Path("manifests/own/all.csv")).set_index("ID")["emo"]
    right = tested["emo_hyp"].to_numpy() == truth[tested["ID"]].to_numpy()
    expected = tested.assign(right=right).groupby(["condition", "strength"])["right"].mean()
    scores = pd.read_csv(experiment / "stress_scores.csv").set_index(["condition", "strength"])
    assert scores["wa"].to_dict() == pytest.approx(expected.to_dict()) and len(scores) > 5
    words = [word.replace("1A 2B", "1A") for word in words]
    run_stages(with_stress(words, "telephone"), "stress", "stress_report")
    page = (experiment / "STRESS.md").read_text()
    assert "Of some runs only, and not shown: `telephone_8`" in page and "| clipping |" in page
    (experiment / "seed1/2B/stress.json").unlink()
    run_stages(words, "stress_report")
    assert "1 of the 2 runs are here: the others have not been through stage 7" in (
        (experiment / "STRESS.md").read_text()
    )


def test_error_rates_of_a_head_that_was_not_trained_are_left_out(own_corpus):
    words = [*own_corpus, *ASKED, "--", "--alpha", "0", "--epochs", "1", "--batch-size", "6", "--device", "cpu"]
    run_stages(words, "train", "decode", "score")
    run_stages(with_stress(words, "telephone"), "stress", "stress_report")
    experiment = FOLDER.parents[1]
    assert "wrd_hyp" in pd.read_csv(FOLDER / "stress.csv") and " WER " not in result(FOLDER, "stress")
    scores, gaps = (pd.read_csv(experiment / f"stress_{name}.csv") for name in ("scores", "gaps"))
    assert scores.filter(like="wer").isna().all(axis=None) and scores["wa"].notna().all()
    assert {*gaps["score"]} <= {"wa", "ua"}
    page, html = ((experiment / name).read_text() for name in ("STRESS.md", "stress.html"))
    said = "Transcripts were not trained (alpha 0): WER and CER mean nothing, and are left out."
    assert f"- {said}\n" in page and said in html
    assert "| WER |" not in page and "WER: " not in html and ">WER<" not in html


@pytest.mark.slow
def test_a_model_on_another_corpus_is_among_the_babble_of_its_own(own_corpus, tmp_path, monkeypatch):
    words = [*own_corpus, *STATISTICS]
    run_stages(words, "train", "decode")
    rows = ["wav,emo,wrd,spk_id"]
    for number in range(6):
        wav = 0.1 * np.sin(np.arange(2000) / (3 + number))
        soundfile.write(tmp_path / f"{number}.wav", wav, 16_000)
        rows.append(f"{number}.wav,{('ang', 'hap', 'sad')[number % 3]},well then,{('2A', 'X')[number % 2]}")
    (tmp_path / "other.csv").write_text("\n".join(rows))
    run_stages(["--corpus", "csv", "--data", str(tmp_path / "other.csv")], "prepare")
    words = [*words[: words.index("--")], "--test-corpus", "other", *words[words.index("--") :]]
    borrowed.borrow(parse(words).tested())
    drawn, known = {"2A": set(), "X": set()}, Talkers.drawn

    def noted(talkers: Talkers, speaker: str, seed: int) -> list[str]:
        drawn[speaker].update(names := known(talkers, speaker, seed))
        return names

    monkeypatch.setattr(Talkers, "drawn", noted)
    run_stages(words, "decode")
    run_stages(with_stress(words, "babble"), "stress")
    trained = manifest.read(Path("manifests/own/speaker/1A/train.csv")).set_index("ID")
    said = {speaker: set(trained["spk_id"].loc[[*names]]) for speaker, names in drawn.items()}
    assert said == {"2A": {"2B"}, "X": {"2A", "2B"}}  # never the one who is tested
    assert len(cases_in(Path("results/other/from_own@speaker/n/seed1/1A/stress.csv"))) == 6


@pytest.mark.slow
def test_the_whole_stage_of_a_model_that_writes_text(own_corpus, command):
    words = [*own_corpus, *ASKED, "--", "--epochs", "2", "--batch-size", "5", "--device", "cpu"]
    run_stages(words, "train", "decode", "score", "report", "stress", "stress_report")
    found = cases_in(FOLDER / "stress.csv")
    clean = predictions.read(FOLDER / "predictions.csv")
    assert found["clean", "0"]["wrd_hyp"].fillna("").tolist() == clean["wrd_hyp"].tolist()
    assert len(found) == 49 and all(len(rows) == 12 for rows in found.values())
    experiment = FOLDER.parents[1]
    scores = pd.read_csv(experiment / "stress_scores.csv")
    assert len(scores) == 49 and scores[["wa", "ua", "wer", "changed"]].notna().all(axis=None)
    assert 'href="stress.html"' in (experiment / "report.html").read_text()
    assert (experiment / "stress.html").read_text().count("<svg") == 12
    assert "clean answers are others" not in (experiment / "STRESS.md").read_text()
