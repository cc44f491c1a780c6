"""The recipes: what they ask of run.sh, which a recorder stands in for here, and the tables that they end with."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import iemocap_tree
import pandas as pd
import pytest
from paths import REPOSITORY, copy_project
from recipe_calls import asked, make_house, recipe, understood
from written_experiments import table_of, write_experiment

from local.corpora import manifest

ALPHAS = ("0", "0.001", "0.01", "0.1", "1")
RECORDING = "results/iemocap/recording"
RECIPES = list((REPOSITORY / "recipes").glob("*.sh"))


@pytest.fixture
def house(tmp_path) -> Path:
    return make_house(tmp_path)


def test_mtl_wav2vec2_asks_for_both_protocols_and_keeps_them_separate(house, monkeypatch):
    write_experiment(house / "results", "iemocap/recording/mtl_wav2vec2", scores=(0.77, 0.2, 0.2))
    write_experiment(house / "results", "iemocap/speaker/mtl_wav2vec2", valid="partner", scores=(0.69, 0.2, 0.2))
    done = recipe(house, "mtl_wav2vec2", "corpus", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    calls = understood(house, monkeypatch)
    assert [call.protocol for call in calls] == ["recording", "speaker"]
    for call in calls:
        assert (call.corpus, call.data, call.name) == ("iemocap", house.parent / "corpus", "mtl_wav2vec2")
        assert (call.valid, call.jobs, call.overrides) == ("", 2, {})
        assert call.hparams == Path("hparams/mtl_wav2vec2.yaml")
    table = (house / "results/iemocap/paper_table3.md").read_text()
    assert table == done.stdout
    rows = table_of(table)
    assert [(row["accuracy"], row["our protocol"], row["our WA"]) for row in rows[7:]] == [
        ("78.15", "recording", "77.00"),
        ("–", "speaker", "69.00"),
    ]


def test_mtl_wav2vec2_takes_the_users_protocol_instead(house, monkeypatch):
    write_experiment(house / "results", "iemocap/session-hold_text/mine")
    done = recipe(house, "mtl_wav2vec2", "corpus", "--hold_text=true", "--name", "mine", "--protocol=session")
    assert done.returncode == 0, done.stderr
    assert [(call.protocol, call.hold_text, call.name) for call in understood(house, monkeypatch)] == [
        ("session", True, "mine")
    ]
    assert "`iemocap/session-hold_text/mine`" in done.stdout


@pytest.mark.parametrize("script", sorted(["run.sh", *(f"recipes/{path.name}" for path in RECIPES)]))
def test_a_link_calls_what_it_leads_to(tmp_path, script):
    (tmp_path / "a").symlink_to(REPOSITORY / script)
    (tmp_path / "b").symlink_to("a")
    calls = (REPOSITORY / script, tmp_path / "b")
    direct, linked = (subprocess.run([call, "--help"], cwd=tmp_path, capture_output=True) for call in calls)
    assert (linked.returncode, linked.stdout) == (0, direct.stdout)


@pytest.mark.slow
def test_ablation_asks_for_every_alpha(house, monkeypatch):
    names = {alpha: f"mtl_wav2vec2_alpha{alpha}" for alpha in ALPHAS} | {"0.1": "mtl_wav2vec2"}
    for alpha, name in names.items():
        rate = 1e-5 if alpha == "0" else 5e-5
        write_experiment(house / "results", f"iemocap/recording/{name}", n_epochs=2, alpha=float(alpha), lr=rate)
    done = recipe(house, "ablation_alpha", "corpus", "--seeds", "1 2")
    assert done.returncode == 0, done.stderr
    calls = understood(house, monkeypatch)
    assert [call.overrides for call in calls] == [
        {"alpha": float(alpha), "lr": 1e-5 if alpha == "0" else 5e-5} for alpha in ALPHAS
    ]
    assert [call.name for call in calls] == list(names.values())
    assert {(call.corpus, call.protocol, call.valid, call.seeds) for call in calls} == {
        ("iemocap", "recording", "", (1, 2))
    }
    rows = table_of((house / "results/iemocap/paper_table4.md").read_text())
    assert [(row["alpha"], row["our experiment"].strip("`").split("/")[2]) for row in rows] == list(names.items())
    assert all("–" not in row.values() for row in rows)
    rows = table_of((house / "results/iemocap/paper_figure2.md").read_text())
    assert {row["alpha"] for row in rows} == set(ALPHAS)
    assert "differs from the paper" not in done.stdout


def test_the_users_options_and_overrides_win(house, monkeypatch):
    """Over those of the recipe, which are repeated by them; paths count from the user's folder."""
    yaml = house.parent / "mine.yaml"
    shutil.copy(house / "hparams" / "mtl_wav2vec2.yaml", yaml)
    user = [
        "--valid",
        "recordings",
        "--protocol",
        "session",
        "--folds",
        "Ses01 Ses02",
        "--stop-stage",
        "3",
        "--name=my",
    ]
    user += ["--hparams", str(yaml), "--", "--lr", "0.001", "--epochs=3"]
    done = recipe(house, "paper_literal", "corpus", *user)
    assert done.returncode == 0, done.stderr
    [call] = understood(house, monkeypatch)
    assert (call.valid, call.protocol, call.folds, call.name) == ("recordings", "session", ("Ses01", "Ses02"), "my")
    assert call.hparams == yaml
    assert (call.overrides["lr"], call.overrides["epochs"]) == (0.001, 3)
    assert call.overrides["micro_batch_size"] == 1
    # Without stage 4 there is nothing to make a table of.
    assert "No table" in done.stdout and not (house / "results").exists()


def test_with_a_name_of_the_users_alphas_stay_separate(house):
    assert recipe(house, "ablation_alpha", "corpus", "--name", "my", "--stop-stage", "1").returncode == 0
    names = [words[words.index("--", 1) - 1] for words in asked(house)]
    assert names == ["my_alpha0", "my_alpha0.001", "my_alpha0.01", "my", "my_alpha1"]


def test_paper_literal_asks_for_the_papers_way(house, monkeypatch):
    folder = write_experiment(house / "results", "iemocap/recording/paper_literal", valid="none", micro_batch_size=1)
    done = recipe(house, "paper_literal", "corpus")
    assert done.returncode == 0, done.stderr
    [call] = understood(house, monkeypatch)
    assert (call.protocol, call.valid, call.name) == ("recording", "none", folder.name)
    sizes = {"batch_size": 8, "micro_batch_size": 1, "epochs": 100}
    assert call.overrides == {"alpha": 0.1, "lr": 5e-5, "warmup": 0.1} | sizes
    written = (house / "results/iemocap/paper_literal.md").read_text()
    [row] = [row for row in table_of(written) if row["our experiment"] != "–"]
    assert (row["accuracy"], row["validation"]) == ("78.15", "none")
    assert "differs from the paper" not in done.stdout


def test_nemo_alpha_asks_for_every_alpha_with_text_held_out(house, monkeypatch):
    done = recipe(house, "nemo_alpha", "corpus", "encoder", "--folds", "TP0", "--stop-stage=3", "--", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    calls = understood(house, monkeypatch)
    assert [call.name for call in calls] == [f"whisper_alpha{alpha}" for alpha in ("0.1", "0", "0.01", "1")]
    assert [call.overrides["alpha"] for call in calls] == [0.1, 0, 0.01, 1]
    for call in calls:
        assert (call.corpus, call.data) == ("nemo", house.parent / "corpus")
        assert (call.protocol_name, call.valid, call.folds) == ("speaker-hold_text", "none", ("TP0",))
        assert call.overrides | {"alpha": 1} == {
            **{"encoder": str(house.parent / "encoder"), "alpha": 1, "lr": 2e-4, "head_lr": 2e-3, "precision": "bf16"},
            **{"epochs": 2, "batch_size": 16, "micro_batch_size": 8},
        }
    assert "No table of compare" in done.stdout


def write_tested(house: Path, alphas: dict[str, float], valid: str) -> None:
    """Experiments of nEMO, by their paths: four utterances of two actors."""
    utterances = pd.DataFrame({"ID": list("abcd"), "spk_id": list("AABB"), "emo": ["ang", "sad"] * 2})
    utterances = utterances.assign(duration=1.0, wav="$data_root/a.wav", gender="F", session="", recording="", style="")
    utterances = utterances.assign(wrd="A B")
    (house / "manifests/nemo").mkdir(parents=True)
    utterances[list(manifest.COLUMNS)].to_csv(house / "manifests/nemo/all.csv", index=False)
    for path, alpha in alphas.items():
        folder = write_experiment(house / "results", path, valid, sizes={"A": 2, "B": 2}, known=9, alpha=alpha)
        for fold in "AB":
            part = utterances[utterances["spk_id"] == fold]
            table = pd.DataFrame({"ID": part["ID"], "emo": part["emo"], "emo_hyp": "ang", "p_ang": 0.75, "p_sad": 0.25})
            table.assign(wrd="A B", wrd_hyp="A").to_csv(folder / "seed1" / fold / "predictions.csv", index=False)


def test_nemo_alpha_compares_what_it_has_made(house):
    alphas = ("0.1", "0", "0.01", "1")
    write_tested(house, {f"nemo/speaker-hold_text/my_alpha{alpha}": float(alpha) for alpha in alphas}, "none")
    done = recipe(house, "nemo_alpha", "corpus", "encoder", "--name", "my")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(house / "results/nemo/my_alpha.csv")) == 6
    assert len(asked(house)) == 4


@pytest.mark.slow
def test_price_of_a_protocol_asks_for_what_the_corpus_serves(house, monkeypatch):
    """A table with sessions and speakers, but no recordings: protocol session has no validation set of its own."""
    own = house / "manifests/own/all.csv"
    own.parent.mkdir(parents=True)
    utterances = pd.DataFrame({"ID": list("abcdefgh"), "spk_id": list("AABBCCDD"), "session": list("11112222")})
    utterances = utterances.assign(emo=["ang", "sad"] * 4, duration=1.0, wav="$data_root/a.wav", gender="F", wrd="A B")
    utterances.assign(recording="", style="")[list(manifest.COLUMNS)].to_csv(own, index=False)
    (house.parent / "own.csv").write_text("")
    words = ["--corpus", "csv", f"--data={house.parent / 'own.csv'}", "--stop-stage", "3", "--", "--epochs", "2"]
    done = recipe(house, "price_of_a_protocol", *words)
    assert done.returncode == 0, done.stderr
    assert "No table of compare" in done.stdout
    first, *calls = understood(house, monkeypatch)
    assert first.protocol == "random" and asked(house)[0][-7:-3] == ["--stage", "0", "--stop-stage", "0"]
    name = "price_statistics"
    assert [(call.protocol_name, call.valid, call.name) for call in calls] == [
        ("speaker", "", name),
        ("speaker", "none", f"{name}_valid_none"),
        ("speaker-valid_oracle-OPTIMISTIC", "oracle", name),
        ("session", "", name),
        ("session-valid_oracle-OPTIMISTIC", "oracle", name),
        ("random-OPTIMISTIC", "", name),
        ("random-OPTIMISTIC", "none", f"{name}_valid_none"),
        ("random-valid_oracle-OPTIMISTIC", "oracle", name),
    ]
    for call in calls:
        assert (call.corpus, call.folds, call.overrides, call.hparams.name) == (
            *("own", ("all",), {"epochs": 2}, "statistics.yaml"),
        )


@pytest.mark.slow
def test_price_of_a_protocol_of_one_choice_and_with_the_users_name(house):
    own = house / "manifests/mini/all.csv"
    own.parent.mkdir(parents=True)
    utterances = pd.DataFrame({"ID": list("abcd"), "spk_id": list("AABB"), "emo": ["ang", "sad"] * 2, "duration": 1.0})
    utterances = utterances.assign(wav="$data_root/a.wav", gender="F", wrd="", session="", recording="", style="")
    utterances[list(manifest.COLUMNS)].to_csv(own, index=False)
    done = recipe(
        house, "price_of_a_protocol", "--valid", "oracle", "--name", "mine", "--protocol=speaker", "--folds", "A"
    )
    assert done.returncode == 0 and len(asked(house)) == 2
    folds = [words[max(at for at, word in enumerate(words) if word == "--folds") + 1] for words in asked(house)]
    assert folds == ["all", "A"]  # of random, which stage 0 is called with, there is no fold A
    assert done.stdout.endswith("No table: it needs two experiments, the first of which is not OPTIMISTIC.\n")
    done = recipe(house, "price_of_a_protocol", "--protocol", "speaker", RECORDER_FAILS="price_statistics_valid_none")
    assert done.returncode == 2 and len(asked(house)) == 6  # the table finds none of the recorder's experiments
    failed, no_table, *_ = done.stderr.splitlines()
    assert failed == "error: results/mini/speaker/price_statistics_valid_none failed; its messages are above"
    assert no_table.startswith("error: results/mini/speaker/price_statistics is not the folder of a scored experiment")
    for words, what in (
        (["--protocol", "session/x"], "error: corpus mini does not serve protocol session/x"),
        (["--corpus", "nemo", "--stage", "1"], "error: there is no manifest manifests/nemo/all.csv"),
        (["--", "--emotion-weight", "0.0"], "error: emotion_weight 0.0 trains no emotions"),
        (["--stage", "9"], "error: --stage '9' is not a stage"),
    ):
        done = recipe(house, "price_of_a_protocol", *words)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 2 and done.stderr.startswith(what)


def test_laptop_freezes_three_quarters_of_the_layers_or_as_many_as_the_user_says(house, monkeypatch):
    """Here the user says it, as to count them an encoder must be loaded: see the next."""
    words = ["csv", "own.csv", "./encoder", "--folds=all", "--jobs", "1", "--", "--freeze_layers=5", "--epochs", "2"]
    (house.parent / "own.csv").write_text("")
    done = recipe(house, "laptop", *words)
    assert done.returncode == 0, done.stderr
    (call,) = understood(house, monkeypatch)
    assert (call.corpus, call.data, call.name, call.jobs) == ("own", house.parent / "own.csv", "laptop", 1)
    wanted = {"encoder": str(house.parent / "encoder"), "freeze_layers": 5, "epochs": 2, "batch_size": 16}
    assert call.overrides == wanted | {"lr": 1e-4, "head_lr": 1e-3} and call.hparams.name == "mtl_wav2vec2.yaml"
    for few in ([], ["nemo", "corpus"], ["nemo", "corpus", "--folds", "EB0"]):
        done = recipe(house, "laptop", *few)
        what, remedy = done.stderr.splitlines()
        assert (done.returncode, what) == (2, "error: it needs a corpus, its folder or table, and an encoder")
        assert remedy.startswith("  try: recipes/laptop.sh CORPUS DATA ENCODER ") and len(asked(house)) == 1


def test_cross_corpus_trains_each_and_tests_it_on_every_other(house):
    (house.parent / "own.csv").write_text("")
    words = ["encoder", "nemo=corpus", "csv=own.csv", "emodb=corpus", "--seeds", "1 2", "--stop-stage", "3"]
    done = recipe(house, "cross_corpus", *words, "--", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    calls = [" ".join(call) for call in asked(house)]
    upstream = f"-- --upstream {house.parent / 'encoder'} --epochs 3"
    assert all("--labels 4class" in call and "superb_probe.yaml" in call and call.endswith(upstream) for call in calls)
    assert all("--protocol speaker --folds all" in call and "--seeds 1 2" in call for call in calls)
    prepared, trained, tested = calls[:3], calls[3:6], calls[6:]
    assert all(call.partition(" -- ")[0].endswith("--stage 0 --stop-stage 0") for call in prepared)
    for call, name in zip(trained, ("nemo", "csv", "emodb"), strict=True):
        assert f"--corpus {name} " in call and "--name cross_superb_probe" in call and "--test-corpus" not in call
    pairs = [(call.split("--corpus ")[1].split()[0], call.split("--test-corpus ")[1].split()[0]) for call in tested]
    assert pairs == [
        *(("nemo", "own"), ("nemo", "emodb"), ("csv", "nemo"), ("csv", "emodb")),
        *(("emodb", "nemo"), ("emodb", "own")),
    ]
    assert all("--stage 3 --name" in call for call in tested)
    done = recipe(house, "cross_corpus", "encoder", "nemo=corpus", "emodb=corpus", "--stop-stage=2")
    assert (done.returncode, done.stdout) == (0, "Nothing is tested on another corpus: that needs stage 3.\n")
    assert len(asked(house)) == len(calls) + 4  # run.sh would refuse a first stage behind the last
    for few in ([], ["encoder"], ["encoder", "nemo=corpus"], ["encoder", "nemo", "corpus"]):
        done = recipe(house, "cross_corpus", *few)
        assert done.returncode == 2 and done.stderr.startswith("error: it needs an encoder, and two corpora")
    before = len(asked(house))
    (house.parent / "other").mkdir()
    (house.parent / "other/own.csv").write_text("")
    for twins, name in (
        (("nemo=corpus", "emodb=corpus", "nemo=corpus"), "nemo"),
        (("csv=own.csv", "csv=other/own.csv"), "own"),
    ):
        done = recipe(house, "cross_corpus", "encoder", *twins)
        assert done.returncode == 2 and done.stderr.startswith(f"error: two of the corpora are called {name}, ")
    assert len(asked(house)) == before  # nothing is trained first
    done = recipe(house, "cross_corpus", "encoder", "nemo=corpus", "emodb=other", "--", "--emotion_weight=0")
    assert done.returncode == 2 and done.stderr.startswith("error: emotion_weight 0 trains no emotions")


def test_cross_corpus_refuses_corpora_of_other_emotions_before_it_trains(house):
    for corpus, labels in (("nemo", ("ang", "sad")), ("emodb", ("ang", "sad", "neu"))):
        (folder := house / "manifests" / f"{corpus}@4class").mkdir(parents=True)
        manifest.write(folder / "all.csv", utterances(*labels))
    done = recipe(house, "cross_corpus", "encoder", "nemo=corpus", "emodb=corpus")
    what, remedy = done.stderr.splitlines()
    told = "nemo@4class ang sad; emodb@4class ang neu sad"
    assert (done.returncode, what) == (2, f"error: the corpora do not have the same emotions: {told}")
    assert remedy.startswith("  try: --labels FILE") and len(asked(house)) == 2  # both are stage 0


def test_laptop_refuses_corpus_data_and_encoder_before_it_loads_any(house):
    for words, what in (
        (("nowhere", "corpus", "./none"), "unknown corpus 'nowhere'"),
        (("nemo", "none", "./none"), f"--data {house.parent / 'none'}: there is no such file or folder"),
        (("nemo", "corpus", "./none"), "encoder ./none: there is no such folder"),
    ):
        done = recipe(house, "laptop", *words)
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: {what}") and asked(house) == []


@pytest.mark.slow
def test_laptop_counts_the_layers_of_the_encoder(house):
    import tiny_models

    tiny_models.save(house.parent / "tiny", "whisper")
    done = recipe(house, "laptop", "nemo", "corpus", "tiny")
    assert done.returncode == 0, done.stderr
    (call,) = asked(house)
    assert call[call.index("--freeze-layers") + 1] == "1"  # of two


@pytest.mark.parametrize("name", ["mtl_wav2vec2", "ablation_alpha", "paper_literal", "nemo_alpha", "table3"])
def test_a_corpus_that_is_not_there(house, name):
    for words in ([], ["nowhere"], ["--folds", "01F"]):
        done = recipe(house, name, *words)
        assert (done.returncode, done.stdout) == (2, "")
        what, remedy = done.stderr.splitlines()
        assert what.startswith("error: ") and remedy.startswith(f"  try: recipes/{name}.sh ")
    assert asked(house) == []


@pytest.mark.parametrize("name", ["mtl_wav2vec2", "ablation_alpha", "paper_literal", "nemo_alpha"])
@pytest.mark.parametrize("code", ["1", "2"])
def test_a_failure_of_run_sh_is_passed_on(house, name, code):
    done = recipe(house, name, "corpus", "encoder", RECORDER_CODE=code)
    assert done.returncode == int(code)
    assert len(asked(house)) == 1
    assert not (house / "results").exists()


def test_help_is_the_header(house):
    done = recipe(house, "ablation_alpha", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Table 4 and Figure 2: ") and "What came of it" in done.stdout
    assert "set -euo" not in done.stdout and asked(house) == []


@pytest.mark.slow
def test_the_ablation_of_a_small_release(tmp_path):
    """Five alphas, two folds, one epoch each: everything is real but the sizes."""
    import tiny_models

    place = tmp_path / "house"
    place.mkdir()
    copy_project(place, "recipes")
    release = iemocap_tree.small_release(tmp_path)
    tiny_models.save(tmp_path / "tiny", "wav2vec2-group")
    options = ["--partial", "true", "--valid", "none", "--folds", "03F 05M", "--stop-stage", "4"]
    done = recipe(
        place, "ablation_alpha", str(release), *options, "--", "--encoder", "./tiny", "--epochs", "1", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr + "".join(path.read_text() for path in place.glob("results/**/*.log"))
    text = (place / "results/iemocap/paper_table4.md").read_text()
    ours = [row for row in table_of(text) if row["our experiment"] != "–"]
    assert [row["alpha"] for row in ours] == list(ALPHAS)
    # Two folds of ten, and not the corpus's full size: beside nothing of the paper's.
    assert {(row["paper's WA"], row["folds"], row["validation"]) for row in ours} == {("–", "2/4", "none")}
    assert "lr 1e-05" not in text and text.count("epochs 1 (Table 1: 100)") == 5
    for row in ours:
        summary = pd.read_csv(place / "results" / row["our experiment"].strip("`") / "summary.csv").iloc[0]
        assert row["our WA"] == f"{100 * summary['wa']:.2f}"
        assert row["our mean of folds' WER"] == f"{100 * summary['wer_mean']:.2f}"
    # The figure's fold is not among them.
    written = (place / "results/iemocap/paper_figure2.md").read_text()
    assert {row["our experiment"] for row in table_of(written)} == {"–"}


def test_reads_or_listens_asks_for_both_alphas_and_ends_with_its_own_options(house, monkeypatch):
    done = recipe(
        house, "reads_or_listens", "--corpus", "nemo", "--sentences", "3", "--stop-stage", "2", "--", "--lr", "0.1"
    )
    assert done.returncode == 0, done.stderr
    examined, *calls = understood(house, monkeypatch)
    assert [(call.name, call.overrides) for call in calls] == [
        ("reads_alpha0", {"alpha": 0, "lr": 0.1}),
        ("reads_alpha0.1", {"alpha": 0.1, "lr": 0.1}),
    ]
    assert {call.corpus for call in (examined, *calls)} == {"nemo"}
    assert " ".join(asked(house)[0]).endswith("--stage 0 --stop-stage 0 -- --lr 0.1")
    assert "No table of reads_or_listens: that needs stage 4" in done.stdout


def test_reads_or_listens_refuses_before_it_trains(house):
    folder = house / "manifests/own"
    folder.mkdir(parents=True)
    manifest.write(folder / "all.csv", utterances("anger", "sadness"))
    (house.parent / "own.csv").touch()
    words = ["--corpus", "csv", "--data", "own.csv"]
    for more, what in (
        (["--sentences", "-3"], "error: --sentences -3 is not a number of sentences"),
        ([], "error: no manner of speaking is known for any emotion of own: anger sadness"),
    ):
        done = recipe(house, "reads_or_listens", *words, *more)
        assert done.returncode == 2 and done.stderr.startswith(what)
    assert all("--name" not in call for call in asked(house))
    manifest.write(folder / "all.csv", utterances("ang", "sad"))
    done = recipe(house, "reads_or_listens", *words, "--voice", "klingon-9")
    assert done.returncode == 2 and done.stderr.startswith("error: libespeak-ng has no voice klingon-9")
    done = recipe(house, "reads_or_listens", *words, "--voice", "pl", "--stop-stage", "2")
    assert done.returncode == 0 and len(asked(house)) == 5  # stage 0 three times, and two trainings


@pytest.mark.parametrize("name", ["reads_or_listens", "merge_tasks"])
def test_a_corpus_without_transcripts_is_refused_before_anything_is_trained(house, name):
    folder = house / "manifests/nemo"
    folder.mkdir(parents=True)
    manifest.write(folder / "all.csv", utterances("ang", "sad", text=""))
    done = recipe(house, name, "--corpus", "nemo", "--data", "corpus")
    assert done.returncode == 2 and done.stderr.startswith("error: no utterance of nemo has a transcript")
    assert all("--name" not in call for call in asked(house))


def utterances(*emotions: str, text: str = "HELLO") -> pd.DataFrame:
    """A table of one utterance of each."""
    rows = pd.DataFrame({"ID": [f"u{number}" for number in range(len(emotions))], "emo": emotions, "duration": 1.0})
    rows["wrd"] = text
    return rows.reindex(columns=list(manifest.COLUMNS), fill_value="")


def test_merge_tasks_merges_the_two_runs_of_one_task_and_compares_with_joint_training(house, monkeypatch):
    names = ["merge_ctc", "merge_emotion", "merge_joint", "merge_merged"]
    write_tested(house, {f"nemo/speaker/{name}": 0.1 for name in names}, "partner")
    encoder = str(house.parent / "encoder")
    done = recipe(house, "merge_tasks", "--corpus", "nemo", "--", "--encoder", encoder, "--lr", "0.1")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(house / "results/nemo/speaker/merge_tasks.csv")
    assert [*zip(table["a"], table["b"], strict=True)] == [*itertools.combinations(names[1:], 2)]
    assert "| merge_joint | merge_merged | WER |" in done.stdout
    _, *calls = understood(house, monkeypatch)  # the first is stage 0
    assert [call.name for call in calls] == names
    ours = {"encoder": encoder, "lr": 0.1}
    runs = {f"{task}_run": str(house / f"results/nemo/speaker/merge_{task}") for task in ("ctc", "emotion")}
    assert [call.overrides for call in calls] == [
        {"emotion_weight": 0, "selection": "valid_wer"} | ours,
        {"alpha": 0} | ours,
        {"alpha": 0.1} | ours,
        {"alpha": 0.1} | runs | ours,
    ]


def test_merge_tasks_merges_nothing_before_the_two_are_trained(house):
    done = recipe(house, "merge_tasks", "--name", "mine", "--stop-stage", "1")
    assert done.returncode == 0 and len(asked(house)) == 4
    assert "Nothing is merged: that needs stage 2 of results/mini/speaker/mine_ctc" in done.stdout


def test_merge_tasks_finds_its_runs_whatever_the_protocol_of_the_table(house, monkeypatch):
    own = house.parent / "my.talks"
    own.mkdir()
    folder = house / "manifests/my.talks"
    folder.mkdir(parents=True)
    manifest.write(folder / "all.csv", utterances("ang", "sad"))  # without speakers
    runs = {}
    for task in ("ctc", "emotion"):
        (run := house / f"results/my.talks/random-OPTIMISTIC/merge_{task}").mkdir(parents=True)
        runs[f"{task}_run"] = str(run)
    done = recipe(house, "merge_tasks", "--corpus", "folder", "--data", "my.talks", "--stop-stage", "3")
    assert done.returncode == 0, done.stderr
    _, ctc, emotion, _, merged = understood(house, monkeypatch)
    assert [str(house / run.experiment_folder) for run in (ctc, emotion)] == [*runs.values()]
    assert merged.overrides == {"alpha": 0.1} | runs


@pytest.mark.parametrize(
    "words",
    [
        "--corpus csv --data own.csv",
        "--corpus csv --data a.b/own.data.csv --protocol random",
        "--corpus csv --data a.b --labels 4class --valid oracle",
        "--corpus csv@4class --data own.csv",
        "--corpus folder@4class --data a.b --labels 4class",
        "--corpus folder --data a.b/ --protocol session --hold-text true",
        "--corpus folder --data . --valid none",
        "--corpus iemocap --test-corpus nemo --labels 4class",
    ],
)
def test_a_recipe_knows_the_folder_of_its_experiments(house, monkeypatch, words):
    monkeypatch.chdir(house.parent)
    Path("a.b").mkdir()
    for name in ("own.csv", "a.b/own.data.csv"):
        Path(name).touch()
    (house / "manifests/nemo@4class").mkdir(parents=True)
    (house / "manifests/nemo@4class/all.csv").touch()
    given = [*words.split(), "--name", "x", "--stop-stage", "5"]
    known = subprocess.run(
        ["bash", "-euc", '. house/local/shell/recipe_options.sh; experiment_folder "$@"', "bash", *given],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    subprocess.run(["house/run.sh", *given], check=True)  # the recorder
    (call,) = understood(house, monkeypatch)
    assert known.stdout.strip() == str(call.tested().experiment_folder)
