"""recipes/table3.sh: its rows and lines, what each is given, and the table that it ends with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paths import copy_project
from recipe_calls import asked, make_house, recipe, understood
from written_experiments import table_of, write_experiment

from local.experiment.options import Options
from local.pages.paper import PAPER

# What differs between the YAMLs of Table 3's rows for the recipe: keys, and the epochs of what is solved.
ROW_KEYS = {
    "sajjad_key_segments": "resnet101_weights: null",
    "lu_asr_attention": "asr_encoder: null",
    "pappagari_xvector": "speaker_net: null",
    "majority": "epochs: 0                         # they are counted",
    "superb_probe": "upstream: null",
    "emotion2vec_probe": "upstream: null",
    "fine_tuning": "upstream: null",
}
ROWS = ("wu_capsules", "sajjad_key_segments", "lu_asr_attention", "liu_local_global", "wang_dual_lstm")
ROWS += ("pappagari_xvector", "peng_asrnn", "mtl_wav2vec2", "majority", "logmel_logistic")
PROBES = ("superb_probe", "emotion2vec_probe", "fine_tuning")


@pytest.fixture
def house(tmp_path) -> Path:
    return make_house(tmp_path)


@pytest.fixture
def table3(house) -> Path:
    """The house with a YAML for each row of Table 3 that says as much of it as the recipe reads."""
    folder = house / "hparams" / "table3"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for row in {*ROWS, *PROBES, "egemaps_svm"} - {"mtl_wav2vec2"}:
        key = ROW_KEYS.get(row, "size: 1")
        parts = f"{key}\nsystem: !new:local.systems.statistics.StatisticsSystem\n    n_labels: !ref <n_labels>\n"
        name = key.partition(":")[0]
        (folder / f"{row}.yaml").write_text(parts + ("" if name == "epochs" else f"    n_mels: !ref <{name}>\n"))
    return house


def rows_of(calls: list[Options]) -> list[str]:
    return [call.name for call in calls]


def test_table3_asks_for_every_row_once(table3, monkeypatch):
    done = recipe(table3, "table3", "corpus", "--jobs", "3", "--stop-stage", "3")
    assert done.returncode == 0, done.stderr
    first, *calls = understood(table3, monkeypatch)
    assert (first.corpus, first.jobs, first.hparams.name) == ("iemocap", 3, "statistics.yaml")
    assert {call.protocol for call in (first, *calls)} == {"speaker"}  # though a table may have another default
    assert done.stdout.endswith("No table: no row has been scored.\n")
    assert asked(table3)[0][-2:] == ["--stop-stage", "1"]
    assert [name for name in rows_of(calls) if name != "egemaps_svm"] == [*ROWS]
    for call in calls:
        assert (call.corpus, call.data, call.jobs, call.overrides) == ("iemocap", table3.parent / "corpus", 3, {})
        assert call.hparams.stem == call.name and call.last_epoch
    for row in PROBES:
        assert f"== row {row} is skipped: it needs a pretrained encoder, --upstream PATH" in done.stdout
    assert all("--stage\n2" in "\n".join(words) for words in asked(table3)[1:])


def test_table3_gives_each_row_its_own_paths_and_what_fits_it(table3, monkeypatch):
    user = [
        "--upstream=encoder",
        "--asr-encoder",
        "./encoder",
        "--resnet101_weights",
        "weights.pth",
        "--encoder",
        "x/y",
    ]
    user += ["--speaker-net", "encoder", "--protocol", "session", "--name", "my"]
    user += ["--rows", "majority,wu_capsules superb_probe pappagari_xvector mtl_wav2vec2"]
    user += ["--stop-stage", "3", "--last-epoch=false", "--", "--epochs", "1", "--alpha=0.5", "--device", "cpu"]
    (table3.parent / "weights.pth").touch()
    done = recipe(table3, "table3", "--corpus", "mini", *user)
    assert done.returncode == 0, done.stderr
    calls = {call.name: call for call in understood(table3, monkeypatch)[1:]}
    assert list(calls) == [
        "my_majority",
        "my_wu_capsules",
        "my_superb_probe",
        "my_pappagari_xvector",
        "my_mtl_wav2vec2",
    ]
    assert {(call.protocol, call.last_epoch) for call in calls.values()} == {("session", False)}
    overrides = {name: call.overrides for name, call in calls.items()}
    assert overrides["my_majority"] == {"device": "cpu"}  # it has no epochs
    assert overrides["my_wu_capsules"] == {"epochs": 1, "device": "cpu"}
    upstream = str(table3.parent / "encoder")
    assert overrides["my_superb_probe"] == {"upstream": upstream, "epochs": 1, "device": "cpu"}
    speaker_net = {"speaker_net": upstream, "lr": 0.0001, "epochs": 1, "device": "cpu"}
    assert overrides["my_pappagari_xvector"] == speaker_net
    assert overrides["my_mtl_wav2vec2"] == {"encoder": "x/y", "epochs": 1, "alpha": 0.5, "device": "cpu"}
    assert calls["my_mtl_wav2vec2"].hparams.name == "mtl_wav2vec2.yaml"


ALL_FACTS = (*PAPER["table3"], *PAPER["beside"])
FURTHER = {f"{facts['row']}-{line}" for facts in ALL_FACTS for line in facts.get("further", ())}


def test_table3_asks_for_further_lines_each_in_its_own_setting(house, monkeypatch):
    """Which wins over the user's; another corpus, and folds of another protocol, are made in the line's own call."""
    words = ["corpus", "--rows", "further", "--folds", "Ses01", "--protocol=session", "--valid", "none", "--name", "my"]
    done = recipe(house, "table3", *words, "--speaker-net=encoder", "--stop-stage", "3", "--", "--epochs=2")
    assert done.returncode == 0, done.stderr
    assert "== row liu_local_global-no_elm is skipped: its learning rate follows the validation set" in done.stdout
    assert {line.split()[2] for line in done.stdout.splitlines() if line.startswith("== row")} == FURTHER
    calls = {call.name: call for call in understood(house, monkeypatch)[1:]}
    calls.pop("my_egemaps_svm-rbf", None)  # where opensmile is installed
    table = "iemocap", "session", "none", ("Ses01",)
    net = {"speaker_net": str(house.parent / "encoder"), "lr": 1e-4, "patience": 0}
    assert {
        name: (call.corpus, call.protocol_name, call.valid, call.folds, call.overrides) for name, call in calls.items()
    } == {
        "my_wu_capsules-improvised": ("iemocap-improvised-unmerged", *table[1:], {"epochs": 2}),
        "my_sajjad_key_segments-random": ("iemocap", "random-OPTIMISTIC", "utterances", ("all",), {"epochs": 2}),
        "my_lu_asr_attention-no_specaugment": (*table, {"masks": False, "patience": 0, "epochs": 2}),
        **{
            f"my_lu_asr_attention-{pooling}": (*table, {"pooling": pooling, "patience": 0, "epochs": 2})
            for pooling in ("mean", "max", "mlp")
        },
        "my_wang_dual_lstm-original": (
            *("iemocap", "random-valid_oracle-OPTIMISTIC", "oracle", ("all",), {"epochs": 2}),
        ),
        "my_pappagari_xvector-no_pretraining": (*table, {"speaker_net": None, "patience": 0, "epochs": 2}),
        "my_pappagari_xvector-logistic": (*table, net | {"classifier": "logistic", "epochs": 0}),
    }
    anew = [words for words in map(" ".join, asked(house)) if "--stage 2 --stage 0" in words]
    assert [words.rpartition("--name ")[2].partition("-")[2].split()[0] for words in anew] == [
        *("improvised", "random", "original"),
    ]


def test_table3_skips_further_lines_that_are_the_row_itself_or_lack_something(house):
    words = ["--corpus", "mini", "--rows", "all further", "--protocol", "random", "--stop-stage", "3"]
    done = recipe(house, "table3", *words)
    assert done.returncode == 0, done.stderr
    for line, reason in {
        "wu_capsules-improvised": "it is of IEMOCAP's speech",
        "sajjad_key_segments-random": "the row itself is of these folds",
        "pappagari_xvector-no_pretraining": "without --speaker-net PATH the row itself is from random weights",
        "pappagari_xvector-logistic": "it needs a pretrained network, --speaker-net PATH",
    }.items():
        assert f"== row {line} is skipped: {reason}\n" in done.stdout
    names = [words[words.index("--name") + 1] for words in asked(house)[1:]]
    assert {"pappagari_xvector", "liu_local_global-no_elm", "wang_dual_lstm-original"} <= {*names}
    assert len({*names}) == len(names)


def test_table3_without_a_validation_set(house):
    """As asked for, or as the folds that were made: patience is off, and schedules that follow the set are skipped."""
    (house / "manifests/nemo/session/1").mkdir(parents=True)
    for words in (["--valid", "none"], ["--protocol", "session"]):
        shutil.rmtree(house / "calls")
        (house / "calls").mkdir()
        rows = ["--rows", "wu_capsules,peng_asrnn,sajjad_key_segments", "--stop-stage=3"]
        done = recipe(house, "table3", "--corpus", "nemo", *words, *rows, "--", "--lr", "0.1")
        assert done.returncode == 0, done.stderr
        assert "sajjad_key_segments is skipped: its learning rate follows the validation set, and there" in done.stdout
        calls = {words[words.index("--name") + 1]: words[words.index("--") + 1 :] for words in asked(house)[1:]}
        assert calls == {"wu_capsules": ["--lr", "0.1"], "peng_asrnn": ["--patience", "0", "--lr", "0.1"]}
        (house / "manifests/nemo/session/1/train.csv").touch()


def test_table3_takes_the_small_model_for_the_mini_corpus(table3, monkeypatch):
    done = recipe(table3, "table3", "--corpus=mini", "--rows", "mtl_wav2vec2", "--stop-stage=2")
    assert done.returncode == 0, done.stderr
    assert [call.hparams.name for call in understood(table3, monkeypatch)] == ["statistics.yaml", "mini.yaml"]


def test_table3_goes_on_after_a_row_that_fails(table3):
    """The table has the rows that were scored, of earlier calls too; the failure and its log are named at the end."""
    write_experiment(
        table3 / "results", "iemocap/speaker/wu_capsules", "partner", n_epochs=1, config="wu_capsules.yaml"
    )
    run = table3 / "results/iemocap/speaker/peng_asrnn/seed1/01F"
    run.mkdir(parents=True)
    (run / "train.log").write_text("# python\nKeyError\n# Ended (code 1) at noon\n")
    (run / "decode.log").write_text("# Ended (code 0) at noon\n")
    words = ["corpus", "--rows", "peng_asrnn majority superb_probe", "--valid", "none"]
    done = recipe(table3, "table3", *words, RECORDER_FAILS="peng_asrnn")
    assert done.returncode == 1
    assert [words[words.index("--name") + 1] for words in asked(table3)[1:]] == ["peng_asrnn", "majority"]
    assert done.stderr.splitlines() == [
        "error: peng_asrnn failed; its messages are above",
        "  see results/iemocap/speaker/peng_asrnn/seed1/01F/train.log",
    ]
    text = (table3 / "results/iemocap/speaker/paper_table3.md").read_text()
    rows = {row["system"]: row for row in table_of(text)}
    assert rows["Wu 2019: capsule network"]["WA"] == "70.00 (68.0–72.0)"
    assert rows["Majority class"]["what it is"] == "not run yet" and text in done.stdout
    assert "of earlier runs with another: Wu 2019: capsule network (partner)." in text
    assert "superb_probe is skipped: it needs" in text and "peng_asrnn failed" in text
    assert (table3 / "results/iemocap/speaker/paper_table3.html").read_text().startswith("<!DOCTYPE html>")


def test_table3_refuses_what_no_row_has(table3):
    for words, what in (
        (["--rows", "wu"], "there is no row 'wu'"),
        (["--upstream"], "option --upstream has no value"),
        (["--", "--epoch", "1"], "no YAML of these rows has the key 'epoch'"),
        (["--", "epochs", "1"], "stray word 'epochs' after --"),
        (["--", "--epochs", "1.5"], "override --epochs 1.5: "),
        (["--stage", "9"], "--stage '9' is not a stage"),
        (["--stage", "2", "--upstream", "./none"], "there is no such folder"),
    ):
        done = recipe(table3, "table3", "corpus", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert what in done.stderr and len(done.stderr.splitlines()) == 2
    assert asked(table3) == []


def test_table3_is_interrupted_with_its_row(table3):
    done = recipe(table3, "table3", "corpus", RECORDER_CODE="130")
    assert done.returncode == 130 and len(asked(table3)) == 1


@pytest.mark.slow
def test_table3_on_a_corpus_of_seconds(tmp_path):
    """Two rows, one fold, one epoch; a second call does nothing again."""
    import tiny_models
    from tones import tones

    place = copy_project(tmp_path / "house", "recipes")
    tiny_models.save(tmp_path / "tiny", "wav2vec2-group")
    (tmp_path / "tones").mkdir()
    words = ["--corpus", "csv", "--data", str(tones(tmp_path / "tones")), "--folds", "A", "--encoder", "tiny"]
    words += ["--rows", "mtl_wav2vec2 majority superb_probe", "--", "--epochs", "1", "--device", "cpu"]
    done = recipe(place, "table3", *words)
    assert done.returncode == 0, done.stderr + "".join(path.read_text() for path in place.glob("results/**/*.log"))
    text = (place / "results/tones/speaker/paper_table3.md").read_text()
    rows = {row["experiment"]: row for row in table_of(text)}
    assert {"mtl_wav2vec2", "majority"} <= rows.keys()
    assert rows["majority"]["WA"].startswith("50.00") and rows["majority"]["WA less ours"] != "–"
    assert "superb_probe is skipped" in text and (place / "results/tones/speaker/paper_table3.html").exists()
    again = recipe(place, "table3", *words)
    assert again.returncode == 0 and again.stdout.count("already done") == 4
    assert (place / "results/tones/speaker/paper_table3.md").read_text() == text
