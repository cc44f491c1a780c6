"""The referee: predictions of an experiment of ours get the figures of its stage 4, and all that can be wrong."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hand_made_runs import WRONG, predict

from local.core.errors import UserError
from local.corpora import aliases
from local.experiment.command_line import parse
from local.inference import foreign_model
from local.pages import price, report
from local.referee import parse_words
from local.score import score
from local.scoring import scored, stats
from local.scoring.comparison import compare

WRITE_REPORT = report.write_report
RESULTS = Path("results/own/speaker")
OF_PLACE = ["name", "valid", "seed", "epoch", "commit", "config", "speaker_overlap"]  # of who trained, and where
WORDS = {"ang": "Angry", "hap": "joy", "sad": "sadness"}


@pytest.fixture
def words(own_corpus, monkeypatch) -> list[str]:
    """The options of an experiment `ours`, scored, on own.csv; without reports, and with rough intervals: both take
    seconds.
    """
    monkeypatch.setattr(report, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(stats, "RESAMPLES", 200)
    options = [*own_corpus, "--name", "ours"]
    for fold in WRONG:
        predict(options, fold)
    score(parse(options))
    return options[:4]


def all_rows() -> list[dict[str, str]]:
    rows = []
    for path in sorted((RESULTS / "ours").glob("seed1/*/predictions.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows


def write(path: str, rows: list[dict[str, str]], delimiter: str = ",") -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0]], delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def summary(name: str) -> pd.Series:
    return scored.load(RESULTS / name).summary


def test_our_own_predictions_get_the_figures_of_stage_4(words, command, own_table):
    ours = {name: (RESULTS / "ours" / name).read_text() for name in ("classes.csv", "breakdown.csv")}
    rows = all_rows()
    random.Random(1).shuffle(rows)
    keys = {row["ID"]: f"/elsewhere/wav/{row['ID']}.wav" for row in rows}
    of_wavs = [{"wav": keys[row["ID"]], "pred": WORDS[row["emo_hyp"]]} for row in rows]
    for row, given in zip(rows, of_wavs, strict=True):
        given |= {f"p_{WORDS[label]}": row[f"p_{label}"] for label in WORDS} | {"text": row["wrd_hyp"].lower()}
    whole = [str(path) for path in sorted((RESULTS / "ours").glob("seed1/*/predictions.csv"))]
    for name, paths in (("files", whole), ("shuffled", [write("s.csv", of_wavs, ";")])):
        code, out, err = command("referee", *words, "--name", name, *paths)
        assert (code, err) == (0, ""), err
        of_theirs = {path: (RESULTS / name / path).read_text() for path in ours}
        assert of_theirs == ours
        for table in ("folds.csv", "summary.csv"):
            one, other = (pd.read_csv(RESULTS / each / table) for each in ("ours", name))
            same = [column for column in one if column not in OF_PLACE]
            pd.testing.assert_frame_equal(one[same], other[same], check_exact=True)
        row = summary(name)
        assert (row["valid"], row["missing"], row["outside"]) == (scored.NOT_TRAINED_HERE, 0, 0)
        page = (RESULTS / name / "RESULTS.md").read_text()
        assert page.count("Not trained here: what it was trained on is not known.") == 4  # once above, once a table
        assert page.count("0 of 48 utterances without a prediction") == 3 and "| – | 1A | 12 |" in page
        assert out.endswith(f"{RESULTS / name / 'report.html'}\n")


def test_calibration_is_of_those_with_posteriors_as_the_page_says(words, command):
    rows = all_rows()
    posteriors = [{"ID": row["ID"]} | {f"p_{label}": row[f"p_{label}"] for label in WORDS} for row in rows]
    code, _, err = command("referee", *words, "--name", "p", write("p.csv", posteriors[5:]))
    assert (code, err) == (1, "") and summary("p")["missing"] == 5
    said = "ECE and Brier are of the 43 utterances with posteriors alone"
    assert said in (RESULTS / "p" / "RESULTS.md").read_text()


def test_missing_utterances_count_as_errors_everywhere_and_unknown_ones_are_refused(words, command):
    rows = [{"ID": row["ID"], "label": row["emo_hyp"]} for row in all_rows()]
    right = sum(row["emo"] == row["emo_hyp"] for row in all_rows()[5:])
    path = write("p.csv", [*rows[5:], {"ID": "nobody", "label": "ang"}, {"ID": rows[0]["ID"], "label": ""}])
    code, out, err = command("referee", *words, path)
    assert code == 2 and "ID 'nobody' is not in the corpus" in err and not (RESULTS / "p").exists()
    code, out, err = command("referee", *words, path, "--partial", "true", "--against", RESULTS / "ours")
    assert (code, err) == (1, "")
    row = summary("p")
    assert (row["n"], row["missing"], row["wa"]) == (48, 5, right / 48) and pd.isna(row["ece"])
    with open(RESULTS / "p" / "missing.csv", newline="", encoding="utf-8") as file:
        missing = list(csv.DictReader(file))
    assert [each["ID"] for each in missing] == [each["ID"] for each in rows[:5]]
    assert missing[0]["reason"] == "its label is empty" and missing[0]["wav"] == f"$data_root/wav/{rows[0]['ID']}.wav"
    assert "nobody" in (RESULTS / "p" / "rejected.csv").read_text()
    page = (RESULTS / "p" / "RESULTS.md").read_text()
    assert page.count("5 of 48 utterances without a prediction") == 3 and "5 of 48 utterances, of which it" in page
    # The same pair as local.compare, with the same clusters.
    (pair,) = compare([scored.load(RESULTS / "ours"), scored.load(RESULTS / "p")]).to_dict("records")
    (written,) = pd.read_csv(RESULTS / "p" / "against.csv").to_dict("records")
    assert pair["wa_diff"] == right / 48 - 34 / 48 and (pair["cluster"], pair["missing_b"]) == ("recording", 5)
    assert {key: value for key, value in written.items() if pair[key] == pair[key]} == pytest.approx(
        {key: value for key, value in pair.items() if value == value}
    )
    code, out, err = command("compare", RESULTS / "p", RESULTS / "ours")
    assert code == 0 and "validation not trained here against partner" in out and "not trained here: what" in out


@pytest.mark.slow
def test_the_report_of_either_shows_the_other(words, command, monkeypatch):
    monkeypatch.setattr(report, "write_report", WRITE_REPORT)
    rows = [{"ID": row["ID"], "label": row["emo_hyp"]} for row in all_rows()[5:]]
    with_posteriors = [dict(row) for row in all_rows()[5:]]
    for name, given in (("bare", rows), ("whole", with_posteriors)):
        assert command("referee", *words, write(f"{name}.csv", given))[0] == 1
        for one in ("ours", name):
            code, _, err = command("report", RESULTS / one)
            html = (RESULTS / one / "report.html").read_text()
            assert (code, err) == (0, "") and "ot trained here: what it was trained on is not known" in html
            assert ('id="learning"' in html) == (one == "ours") and ">nan" not in html and "nan%" not in html
            assert ('id="calibration"' in html) == (one != "bare") and f"<strong>{name}</strong>" not in html


def test_a_class_that_the_model_lacks_has_a_line_of_the_others(words, command):
    rows = [{"ID": row["ID"], "pred": row["emo_hyp"], "p_ang": 0.5, "p_hap": 0.5} for row in all_rows()]
    for row in rows:
        row["pred"] = "hap" if row["pred"] == "sad" else row["pred"]
        row |= {"p_ang": float(row["pred"] == "ang"), "p_hap": float(row["pred"] == "hap")}
    right = sum(ours["emo"] == row["pred"] for ours, row in zip(all_rows(), rows, strict=True))
    assert command("referee", *words, write("two.csv", rows), "--against", RESULTS / "ours")[0] == 0
    row = summary("two")
    assert (row["fair_classes"], row["fair_n"], row["fair_wa"]) == ("ang hap", 32, right / 32)
    assert row["wa"] == right / 48 and row["fair_wa_low"] < row["fair_wa"] < row["fair_wa_high"]
    page = (RESULTS / "two" / "RESULTS.md").read_text()
    assert f"| **pooled, only its classes: ang hap** | 32 | {100 * right / 32:.2f} |" in page
    assert "The model lacks `sad`" in page
    (pair,) = pd.read_csv(RESULTS / "two" / "against_fair.csv").to_dict("records")
    of_ours = [each["emo"] == each["emo_hyp"] for each in all_rows() if each["emo"] != "sad"]
    assert (pair["n"], pair["wa_a"], pair["wa_b"]) == (32, sum(of_ours) / 32, right / 32)
    assert pair["wa_diff"] == pytest.approx((right - sum(of_ours)) / 32)
    assert "Of the utterances of its classes alone, ang hap:\n\n| A | B |" in page
    # Compared with nothing, and then with other predictions of the same name, no table of these stays.
    assert command("referee", *words, "two.csv")[0] == 0 and not [*(RESULTS / "two").glob("against*")]
    assert "## Against" not in (RESULTS / "two" / "RESULTS.md").read_text()
    again = ("--force", "true", "--against", RESULTS / "ours")
    assert command("referee", *words, "two.csv", "--against", RESULTS / "ours")[0] == 0
    assert command("referee", *words, write("two.csv", all_rows()), *again, *again[2:])[0] == 0  # named twice
    assert [path.name for path in (RESULTS / "two").glob("against*")] == ["against.csv"]
    assert pd.read_csv(RESULTS / "two" / "against.csv")["wa_b"].tolist() == [34 / 48]
    # Without posteriors nobody knows.
    bare = write("bare.csv", [{"ID": row["ID"], "pred": row["pred"]} for row in rows])
    assert command("referee", *words, bare)[0] == 0
    page = (RESULTS / "bare" / "RESULTS.md").read_text()
    assert "only its classes" not in page
    assert "No prediction is `sad`: whether the model has the class is not known" in page
    assert "ECE" not in page and "Brier score" not in page.partition("In per cent")[0]


def test_the_corpus_s_own_labels_are_no_predictions(words, command):
    rows = [{"ID": row["ID"], "label": row["emo"], "Guess": row["emo_hyp"]} for row in all_rows()]
    path = write("p.csv", rows)
    code, _, err = command("referee", *words, path)
    assert code == 2 and "column label has the corpus's own label in every row" in err
    assert '--columns "emo_hyp=COLUMN"' in err and not (RESULTS / "p").exists()
    code, out, err = command("referee", *words, path, "--columns", "emo_hyp=Guess")
    assert (code, err) == (0, "") and "label: Guess" in out and "every label is the reference" not in out
    code, _, err = command("referee", *words, path, "--columns", "emo_hyp=label")
    assert code == 2 and "columns (" in err  # other results of this name
    out = command("referee", *words, path, "--columns", "emo_hyp=label", "--name", "good")[1]
    assert "**Warning:** every label is the reference: is column label what the model predicted?" in out
    # Posteriors that say the same are a model's.
    for row in rows:
        row |= {f"p_{label}": float(label == row["label"]) for label in WORDS}
    assert command("referee", *words, write("posteriors.csv", rows))[0] == 0


def test_results_are_not_overwritten_by_others(words, command):
    rows = [{"ID": row["ID"], "pred": row["emo_hyp"]} for row in all_rows()]
    path = write("p.csv", rows)
    forced = command("referee", *words, path, "--name", "ours", "--force", "true")
    assert "is of a system that is trained here" in forced[2]
    assert command("referee", *words, path)[0] == 0 == command("referee", *words, path)[0]
    write("p.csv", rows[::-1])
    code, _, err = command("referee", *words, path)
    assert code == 2 and "predictions (['p.csv" in err and "--force true" in err
    assert command("referee", *words, path, "--force", "true", "--folds", "1A")[0] == 0
    assert [*scored.load(RESULTS / "p").folds["fold"]] == ["1A"]
    assert "over 1/4 folds only" in (RESULTS / "p" / "RESULTS.md").read_text()
    assert not (RESULTS / "p" / "seed0" / "1B").exists()


def test_folds_are_those_of_the_experiment_to_compare_with(words, own_corpus, command):
    options = [*own_corpus, "--name", "part"]
    for fold in ("1A", "2B"):
        predict(options, fold)
    score(parse(options))
    path = write("p.csv", [{"ID": row["ID"], "pred": row["emo_hyp"]} for row in all_rows()])
    code, out, err = command("referee", *words, path, "--against", RESULTS / "part")
    assert (code, err) == (0, "") and "Folds present: 2/4" in out and "| part | p | WA | 24 |" in out
    code, out, err = command("referee", *words, path, "--name", "q", "--against", RESULTS / "part", "--folds", "1B")
    assert code == 2 and "is of the folds 1A 2B, and the predictions are scored on 1B" in err
    assert not (RESULTS / "q").exists()


def test_what_is_of_trainings_refuses_it_or_leaves_it_out(words, command):
    rows = [{"ID": row["ID"], "pred": row["emo_hyp"], "text": row["wrd"]} for row in all_rows()]
    out = command("referee", *words, write("p.csv", rows))[1]
    assert "**Warning:** every transcript is the reference: is column text what the model wrote?" in out
    own = scored.load(RESULTS / "p")
    assert own.values == {} and own.epochs.empty and not own.trained_here
    for refused in (lambda: price.price([scored.load(RESULTS / "ours"), own]), lambda: scored.refuse_untrained([own])):
        with pytest.raises(UserError, match="was not trained here"):
            refused()
    code, _, err = command("score", *words, "--name", "p")
    assert code == 2 and "was not trained here" in err
    assert "speaker/ours" in (shown := command("status", "--corpus", "own")[1]) and "speaker/p:" not in shown
    assert command("paper", "table3", RESULTS / "p")[0] == 2


class FakeModel:
    """What a model of transformers looks like to the command: it takes all for happy, but fails for one file."""

    labels, writes_text, longest, provenance = (
        ["angry", "happy", "sad"],
        False,
        0.15,
        {"corpus": "own+nemo@4class", "folds": ["1A"]},
    )
    runs = 0

    def outputs(self, files: list[str]) -> Iterator[tuple]:
        FakeModel.runs += 1
        for number, file in enumerate(files):
            assert Path(file).is_file()
            shares = {"angry": 0.1, "happy": 0.7, "sad": 0.2} if number else {}
            yield foreign_model.Output(file, shares, error="" if number else "the model fails: too short")


def test_a_model_is_run_once_and_its_failures_are_errors(words, command, monkeypatch, tmp_path):
    monkeypatch.setattr(foreign_model, "load", lambda source, device: FakeModel())
    monkeypatch.setitem(aliases.NAMED, "own", "OwnCorpus")
    folder = tmp_path / "some model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("---\n---\nTrained on OwnCorpus and others.\n")
    for _ in range(2):
        code, out, err = command("referee", *words, "--model", folder)
        assert (code, err) == (1, "") and FakeModel.runs == 1
    assert f"{RESULTS / 'some-model' / 'model_predictions.csv'} is already made" in out
    assert str(tmp_path) not in out.partition("| scored by")[0]  # a path is of one machine
    row, first = summary("some-model"), all_rows()[0]
    assert (row["n"], row["missing"], row["wa"]) == (48, 1, (16 - (first["emo"] == "hap")) / 48)
    assert f"{first['ID']}.wav,the model fails: too short" in (RESULTS / "some-model" / "missing.csv").read_text()
    for said in (
        'the model\'s card names the corpus that is tested: "Trained on OwnCorpus and others."',
        "the model was trained on this corpus",
        "the model takes 0.15 s: of 27 longer utterances the rest is cut off",
    ):
        assert f"**Warning:** {said}" in out, said
    of_own = {"corpus": "own", "protocol": "speaker", "folds": ["1A"]}  # has heard nothing of its own test set
    for before, told in (({}, False), ({"before": [of_own | {"folds": ["1B"]}]}, True)):
        monkeypatch.setattr(FakeModel, "provenance", of_own | before)
        out = command("referee", *words, "--model", folder, "--name", f"own-{told}", "--folds", "1A")[1]
        assert ("the model was trained on this corpus" in out) == told
    (folder / "config.json").write_text("{ }")  # another version
    code, _, err = command("referee", *words, "--model", folder)
    assert code == 2 and "version (" in err
    monkeypatch.setattr(FakeModel, "labels", ["LABEL_0", "LABEL_1"])
    code, _, err = command("referee", *words, "--model", folder, "--name", "other")
    assert code == 2 and "'LABEL_0'" in err and FakeModel.runs == 3  # before it is run


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "give either predictions or --model"),
        (["p.csv", "--model", "x"], "give either predictions or --model"),
        (["a.csv", "b.csv"], "several files have no one name"),
        (["p.csv", "--protocol", "bogus"], "--protocol 'bogus' is not known"),
        (["p.csv", "--partial", "maybe"], "--partial 'maybe' is not known"),
    ],
)
def test_a_wrong_command_line_is_refused(given, said):
    with pytest.raises(UserError) as error:
        parse_words(["--corpus", "mini", *given])
    assert said in error.value.what


@pytest.mark.parametrize(
    ("source", "name"), [("a/b.csv", "b"), ("some-one/wav2vec2 (SER)!", "wav2vec2-SER"), ("./models/x.y/", "x.y")]
)
def test_the_name_is_that_of_the_file_or_model(workplace, source, name):
    given = [source] if source.endswith(".csv") else ["--model", source]
    assert parse_words(["--corpus", "mini", *given])[1].name == name


def test_without_folds_the_command_that_makes_them_is_named(words, command):
    path = write("p.csv", [{"ID": row["ID"], "pred": row["emo_hyp"]} for row in all_rows()])
    code, _, err = command("referee", *words, path, "--protocol", "session")
    assert code == 2 and "./run.sh --corpus own --protocol session --stop-stage 1" in err
    marker = Path("manifests/own/speaker/folds.json")
    facts = json.loads(marker.read_text())
    marker.write_text(json.dumps(facts | {"inputs": facts["inputs"] | {"utterances": "other"}}))
    code, _, err = command("referee", *words, path)
    assert code == 2 and "made of another table" in err
