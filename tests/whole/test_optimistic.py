"""What is OPTIMISTIC says so in every place: a table that has `wav` and `emo` alone, and validation oracle."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hand_made_runs import predict

from local.core.errors import UserError
from local.corpora import manifest
from local.deploy.folder import refuse_optimistic
from local.experiment.command_line import parse
from local.experiment.job import options_of_run
from local.folds import make_folds
from local.prepare import prepare
from local.report import report
from local.score import score
from local.scoring import scored
from local.scoring.comparison import mismatch_reason
from local.splits import audit
from local.status import experiments

FOLDER = Path("manifests/own/random-OPTIMISTIC")
EXPERIMENT = Path("results/own/random-OPTIMISTIC/n")
NAMES = ["fold1", "fold2", "fold3", "fold4", "fold5"]


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    """The options of own.csv with the columns `wav`, `emo` and `wrd` alone; two of its files are copies of others."""
    keep(own_table, "wav", "emo", "wrd")
    for original, copy in (("10A0", "25B1"), ("12A1", "12B0")):
        shutil.copy(own_table.parent / f"wav/{original}.wav", own_table.parent / f"wav/{copy}.wav")
    return ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n"]


def keep(table: Path, *columns: str) -> None:
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(table, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, columns, extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)


def sets_of(folder: Path, fold: str) -> dict[str, pd.DataFrame]:
    return {name: manifest.read(folder / fold / f"{name}.csv") for name in ("train", "valid", "test")}


def test_all_stages_and_pages(words, own_table, capsys):
    keep(own_table, "wav", "emo")
    prepare(parse(words))
    make_folds(parse(words))
    printed = capsys.readouterr().out
    assert "no utterance has a speaker (spk_id), session or recording, so the protocol is random" in printed
    assert "OPTIMISTIC: the speakers and recordings that are tested are probably in the training set" in printed
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_dir()) == NAMES
    tested = pd.concat([sets_of(FOLDER, fold)["test"] for fold in NAMES])
    assert sorted(tested["ID"]) == manifest.read(Path("manifests/own/all.csv"))["ID"].tolist()
    for fold in NAMES:
        sets = sets_of(FOLDER, fold)
        assert set(sets["valid"]["emo"]) == {"ang", "hap", "sad"} and 3 <= len(sets["valid"]) <= 5
        for original, copy in (("wav-10A0", "wav-25B1"), ("wav-12A1", "wav-12B0")):
            assert len([name for name, table in sets.items() if table["ID"].isin([original, copy]).any()]) == 1
    assert not audit.read_leaks(FOLDER / "leaks.csv")["kind"].isin(audit.NEVER).any()
    for fold in ("fold1", "fold4"):
        job = predict(words, fold, wrong=2, lost=0)
    assert job.folder == EXPERIMENT / "seed1" / "fold4" and job.valid == "utterances"
    score(parse(words))
    report(parse(words))
    page = (EXPERIMENT / "RESULTS.md").read_text().splitlines()
    assert page[0] == "# n on own, protocol random-OPTIMISTIC"
    fact = next(line for line in page if line.startswith("- "))
    assert fact.startswith("- **Protocol `random-OPTIMISTIC`: each fold tests a random share")
    assert fact.endswith("expect lower figures on other speakers.**")
    html = (EXPERIMENT / "report.html").read_text()
    first = html[html.index("<h1>") :]
    assert first.index("random-OPTIMISTIC") < first.index("expect lower figures") < first.index("Corpus: own table")
    summary = pd.read_csv(EXPERIMENT / "summary.csv").iloc[0]
    assert (summary["protocol"], summary["folds"]) == ("random-OPTIMISTIC", "2/5")


def test_the_options_go_with_it(words, capsys):
    prepare(parse(words))
    for extra in ([], ["--valid", "none"], ["--hold-text", "true"]):
        make_folds(parse([*words, *extra]))
    assert {path.name for path in Path("manifests/own").glob("random*")} == {
        "random-OPTIMISTIC",
        "random-OPTIMISTIC-valid_none",
        "random-OPTIMISTIC-hold_text",
    }
    for fold in NAMES:
        assert not (FOLDER.with_name("random-OPTIMISTIC-valid_none") / fold / "valid.csv").exists()
        sets = sets_of(FOLDER.with_name("random-OPTIMISTIC-hold_text"), fold)
        texts = {name: set(table["wrd"]) for name, table in sets.items()}
        assert texts["test"] and not texts["test"] & (texts["train"] | texts["valid"])
    assert parse([*words, "--folds", "fold5 fold2"]).chosen_folds() == ["fold5", "fold2"]
    for extra, message in (
        (["--folds", "fold6"], "protocol 'random' has no fold 'fold6'"),
        (["--valid", "partner"], "validation 'partner' needs folds of one speaker each"),
        (["--valid", "recordings"], "validation 'recordings' needs a recording"),
        (["--protocol", "speaker"], r"cannot serve protocol 'speaker' \(column spk_id\): 48 of its 48"),
    ):
        with pytest.raises(UserError, match=message):
            make_folds(parse([*words, *extra]))
    with pytest.raises(UserError) as refusal:
        prepare(parse([*words, "--protocol", "speaker"]))
    assert "random is optimistic" in refusal.value.remedy and "spk_id for speaker" in refusal.value.remedy
    job = predict(words, "fold2", wrong=1, lost=0)
    told = {"corpus": "own", "protocol": "random", "valid": "utterances", "hold_text": False, "fold": "fold2"}
    again = parse(options_of_run(job.folder, told | {"seed": 1, "name": "n"}))
    assert again.run_folder(1, "fold2") == job.folder
    assert list(experiments(["--corpus", "own", "--protocol", "random", "--name", "n"])) == [EXPERIMENT]


def test_with_speakers_it_is_taken_only_when_asked_for(workplace, own_table, own_corpus):
    assert parse(own_corpus).chosen_protocol() == "speaker"
    options = parse([*own_corpus, "--protocol", "random"])
    make_folds(options)
    leaks = audit.read_leaks(FOLDER / "leaks.csv")
    assert options.experiment_folder == Path("results/own/random-OPTIMISTIC/mini")
    assert (leaks["kind"] == "speaker").any()  # allowed, and written down
    keep(own_table, "wav", "emo", "session")
    with pytest.raises(UserError, match="cannot serve protocol 'speaker'") as refusal:
        prepare(parse([*own_corpus, "--force", "true"]))
    assert refusal.value.remedy.startswith("take one of: session random (random is optimistic")


ORACLE = "speaker-valid_oracle-OPTIMISTIC"


def test_oracle_is_marked_in_paths_and_holds_nothing_out(own_corpus, capsys):
    words = [*own_corpus, "--name", "n", "--valid", "oracle"]
    for extra in (["--valid", "none"], ["--valid", "oracle"]):
        make_folds(parse([*own_corpus, *extra]))
    printed = capsys.readouterr().out
    assert "validation oracle-OPTIMISTIC: the test set itself chooses the epoch\n" in printed
    assert f"folds of protocol {ORACLE}" in printed and "training or validation" not in printed.partition(ORACLE)[2]
    folder = Path("manifests/own", ORACLE)
    for fold in ("1A", "1B", "2A", "2B"):
        assert (folder / fold / "valid.csv").read_bytes() == (folder / fold / "test.csv").read_bytes()
        for name in ("train.csv", "tokenizer.model"):
            none = folder.with_name("speaker-valid_none") / fold / name
            assert (folder / fold / name).read_bytes() == none.read_bytes()
        job = predict(words, fold)
    sizes = json.loads((folder / "folds.json").read_text())["facts"]["sizes"]
    assert sizes["1A"] == {"train": 36, "valid": 12, "test": 12}
    assert job.folder == Path("results/own", ORACLE, "n/seed1/2B")
    told = {"corpus": "own", "protocol": "speaker", "valid": "oracle", "hold_text": False, "fold": "2B"}
    again = parse(options_of_run(job.folder, told | {"seed": 1, "name": "n"}))
    assert again.run_folder(1, "2B") == job.folder


@pytest.mark.slow
def test_oracle_is_marked_on_every_page(own_corpus):
    words = [*own_corpus, "--name", "n", "--valid", "oracle"]
    make_folds(parse(words))
    for fold in ("1A", "2B"):
        predict(words, fold)
        predict([*own_corpus, "--name", "n"], fold)
    for each in (words, [*own_corpus, "--name", "n"]):
        score(parse(each))
    report(parse(words))
    oracle, honest = (scored.load(Path("results/own", name, "n")) for name in (ORACLE, "speaker"))
    assert (oracle.protocol, oracle.valid) == (ORACLE, "oracle-OPTIMISTIC")
    assert set(oracle.folds["protocol"] + " " + oracle.folds["valid"]) == {f"{ORACLE} oracle-OPTIMISTIC"}
    assert f"is of protocol {ORACLE}" in mismatch_reason(oracle, honest)
    page = (oracle.folder / "RESULTS.md").read_text().splitlines()
    assert page[0] == f"# n on own, protocol {ORACLE}"
    fact = next(line for line in page if line.startswith("- "))
    assert fact.startswith(f"- **Protocol `{ORACLE}`: each fold tests") and "OPTIMISTIC: the epoch is the best" in fact
    assert "- Validation `oracle-OPTIMISTIC`: the test set itself chooses the epoch." in page
    html = (oracle.folder / "report.html").read_text()
    assert "plays no role" not in "".join(page) + html and "played no role" not in html
    assert "on the test set itself, by which the epoch was chosen (OPTIMISTIC)" in html


def test_oracle_with_text_held_out(own_corpus, capsys):
    options = parse([*own_corpus, "--protocol", "session", "--valid", "oracle", "--hold-text", "true"])
    make_folds(options)
    folder = Path("manifests/own/session-valid_oracle-OPTIMISTIC-hold_text")
    assert options.folds_folder("oracle") == folder
    for fold in ("s1", "s2"):
        sets = sets_of(folder, fold)
        assert sets["valid"].equals(sets["test"]) and not set(sets["test"]["wrd"]) & set(sets["train"]["wrd"])
    printed = capsys.readouterr().out
    assert "these are not in the training set" in printed and "in no other set" not in printed


def test_what_is_optimistic_without_need_is_not_exported(own_corpus, own_table):
    for extra, what in (
        (["--valid", "oracle"], "the test set itself chose its epoch"),
        (["--protocol", "random"], "though the corpus serves recording, speaker, session;"),
        (["--protocol", "random", "--valid", "oracle"], "the test set itself chose its epoch"),
        ([], ""),
    ):
        words = [*own_corpus, "--name", "n", *extra]
        make_folds(parse(words))
        options = parse(words)
        job = predict(words, options.all_folds()[0], wrong=1, lost=1)
        told = {"corpus": "own", "protocol": options.chosen_protocol(), "valid": job.valid, "hold_text": False}
        told |= {"fold": job.fold, "seed": 1, "name": "n"}
        (job.folder / "env.json").write_text(json.dumps({"commit": "0123456789ab", "job": told}))
        if what:
            with pytest.raises(UserError, match=what) as refusal:
                refuse_optimistic(job.folder)
            assert refusal.value.remedy.endswith(
                f"local.export {job.folder} OUT --optimistic, and the model card says it"
            )
        else:
            refuse_optimistic(job.folder)


def test_speakers_in_a_column_of_another_name_are_not_ignored_without_being_asked(workplace, own_table, own_corpus):
    own_table.write_text(own_table.read_text().replace("spk_id,session,recording", "Speaker,x,y", 1))
    words = [*own_corpus, "--force", "true"]
    with pytest.raises(UserError, match="column 'Speaker' is not used, and no utterance has a spk_id") as refusal:
        prepare(parse(words))
    assert refusal.value.remedy.startswith('--columns "spk_id=Speaker"; or take --protocol random')
    prepare(parse([*words, "--protocol", "random"]))


def test_another_table_of_the_same_name_has_its_own_default(words, own_table):
    """What stage 0 wrote of an earlier table decides nothing for the new one."""
    prepare(parse(words))
    whole = own_table.read_text()
    with open(own_table, "w", encoding="utf-8") as file:
        for number, line in enumerate(whole.splitlines()):
            file.write(f"{line},{'spk_id' if not number else 'AB'[number % 2]}\n")
    prepare(parse([*words, "--force", "true"]))
    facts = json.loads(Path("manifests/own/all.json").read_text())["facts"]
    assert "notes" in facts and parse(words).chosen_protocol() == "speaker"
