"""All heads from end to end: an own table with their labels, some of them missing, through stages 0 to 6."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stages import run_stages

from local.core.errors import UserError
from local.deploy.gather import load_trained
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.inference import model_folder
from local.inference.analyzer import Analyzer
from local.scoring import task_scores
from local.scoring.scored import load

HEADS = "{gender: 0.1, speaker: 0.05, valence: 0.5, arousal: 0.0, votes: 0.3}"


@pytest.fixture
def rated(workplace: Path, own_table: Path) -> list[str]:
    """The options of own.csv with labels of all heads, of which every seventh utterance has none."""
    with open(own_table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chance = np.random.default_rng(2)
    for number, row in enumerate(rows):
        row |= {"gender": "fm"[row["spk_id"].endswith("B")], "valence": f"{1 + 4 * number / 48:.2f}"}
        row |= {"arousal": f"{chance.uniform(1, 5):.1f}", "votes": f"{row['emo']} 2 oth 1"}
        if number % 7 == 3:
            row |= dict.fromkeys(("gender", "valence", "votes"), "")
    with open(own_table, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--protocol", "recording"]
    return [*given, "--", "--heads", HEADS, "--epochs", "2", "--batch-size", "6", "--device", "cpu"]


@pytest.mark.slow
def test_all_heads_from_the_table_to_the_model_in_use(rated, workplace, tmp_path, caplog):
    caplog.set_level("INFO")
    run_stages(rated, "prepare", "folds")
    assert "columns not used" not in (workplace / "manifests" / "own" / "all.json").read_text()
    fold = sorted(path.name for path in (workplace / "manifests" / "own" / "recording").iterdir() if path.is_dir())[0]
    words = [*rated[:8], "--folds", fold, *rated[8:]]
    run_stages(words, "train", "decode", "score", "report")
    job = Job(parse(words), fold, 1)
    train = pd.read_csv(job.manifests / "train.csv", dtype=str, keep_default_na=False)
    left = int((train["valence"] == "").sum())
    assert left and f"gender {left}, speaker 0, valence {left}, arousal 0, votes {left} of {len(train)}" in caplog.text
    log = pd.read_csv(job.folder / "epochs.csv")
    assert (log[["gender_left_out", "valence_left_out", "votes_left_out"]] == left).all(axis=None)
    assert log["train_votes"].iloc[-1] < log["train_votes"].iloc[0] and log["valid_valence"].notna().all()
    classes = json.loads((job.folder / "begun.json").read_text())["inputs"]["head_classes"]
    assert classes["speaker"] == sorted(train["spk_id"].unique()) and classes["votes"] == ["ang", "hap", "oth", "sad"]

    experiment = load(job.folder.parents[1])
    table = pd.read_csv(experiment.folder / "heads.csv")
    assert table["head"].unique().tolist() == ["gender", "speaker", "valence", "arousal", "votes"]
    pd.testing.assert_frame_equal(table, task_scores.table(experiment.predictions), check_dtype=False, rtol=1e-6)
    speaker = table[table["head"] == "speaker"]
    assert (speaker["n"] == len(experiment.predictions)).all()  # protocol recording: the same speakers train
    page, markdown = ((experiment.folder / name).read_text() for name in ("report.html", "RESULTS.md"))
    assert "## Further heads" in markdown and "| valence | CCC |" in markdown and 'id="heads"' in page
    assert "Heads with a weight of 0 are not trained, so their figures mean nothing: arousal" in markdown
    assert "gender 0.1, speaker 0.05, valence 0.5, arousal 0, votes 0.3" in markdown
    assert set(json.loads((job.folder / "scores.json").read_text())["heads"]) == {*table["head"]}

    made = load_trained(job.folder)
    assert list(made.system.tasks) == ["gender", "valence", "votes"]  # speakers stay here, as does what is not trained
    model_folder.write(tmp_path / "MODEL", made)
    used = Analyzer.load(tmp_path / "MODEL")
    row = experiment.predictions.iloc[0]
    analysis = used.analyze(workplace.parent / "data" / "wav" / f"{row['ID']}.wav")
    assert analysis.heads["valence"] == pytest.approx(row["hyp_valence"], abs=1e-4)
    assert max(analysis.heads["gender"], key=analysis.heads["gender"].get) == row["hyp_gender"]


def test_a_job_knows_the_classes_of_its_heads_or_ends_before_it_begins(own_corpus):
    with pytest.raises(UserError, match=r"heads: valence: .*no utterance has a label"):
        Job(parse([*own_corpus, "--", "--heads", "{valence: 0.5}"]), "1A", 1)
    with pytest.raises(UserError, match="heads: 'valance' is not known"):
        Job(parse([*own_corpus, "--", "--heads", "{valance: 0.5}"]), "1A", 1)
    # Speakers are those of the fold's training set.
    words = [*own_corpus, "--", "--heads", "{speaker: 0.1}"]
    jobs = [Job(parse(words), fold, 1) for fold in ("1A", "2B")]
    assert [job.beginning().inputs["head_classes"]["speaker"] for job in jobs] == [["2A", "2B"], ["1A", "1B"]]
    assert "head_classes" not in jobs[0].training().inputs  # the folds of one experiment differ in it
    assert jobs[0].training().inputs["heads"] == {"speaker": 0.1}
    plain = Job(parse(own_corpus), "1A", 1)
    assert not plain.beginning().inputs.keys() & {"heads", "head_classes", "emotion_weight", "focal_gamma"}
