"""Every row of Table 3 on a dozen sounds, in this process: one epoch or its closed form, decoded, scored, one table.

The sizes are the systems' own; only the audio, the batches and the pretrained encoder are tiny.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import tiny_models
from paths import REPOSITORY
from stages import run_stages
from system_checks import RATE, sounds
from written_experiments import table_of

from local.config.hparams import read_values
from local.pages.table3 import OURS, ROWS, all_rows
from local.scoring.scored import load

BESIDE = REPOSITORY / "hparams" / "table3"
YAMLS = {OURS: REPOSITORY / "hparams" / f"{OURS}.yaml"} | {path.stem: path for path in sorted(BESIDE.glob("*.yaml"))}
SMALL = {"epochs": 1, "batch_size": 4, "micro_batch_size": 4, "device": "cpu", "precision": "fp32"}
NEEDS = {"egemaps_svm": "opensmile"}


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """The options of a corpus of three speakers and four emotions, in a folder that is the current one."""
    place, data = tmp_path_factory.mktemp("rows"), tmp_path_factory.mktemp("sounds")
    rows = []
    for number, wav in enumerate(sounds(*(0.5 + 0.04 * number for number in range(12)))):
        soundfile.write(data / f"u{number:02}.wav", wav.numpy(), RATE)
        emotion, speaker = ("ang", "hap", "neu", "sad")[number % 4], "ABC"[number // 4]
        rows.append({"ID": f"u{number:02}", "wav": f"u{number:02}.wav", "emo": emotion, "spk_id": speaker, "wrd": "SO"})
    pd.DataFrame(rows).to_csv(data / "small.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shutil.copytree(REPOSITORY / "hparams", "hparams")
        tiny_models.save(Path("encoder"), "wav2vec2-group")
        given = ["--corpus", "csv", "--data", str(data / "small.csv"), "--folds", "A"]
        run_stages([*given, "--hparams", "hparams/statistics.yaml"], "prepare", "folds")
        yield given


def run(words: list[str], row: str) -> None:
    """Train, decode and score a row, unless that is done."""
    if Path("results/small/speaker", row, "summary.csv").exists():
        return
    values = read_values(YAMLS[row])
    overrides = SMALL | {"epochs": min(1, values["epochs"])}
    encoder = "upstream" if "upstream" in values else "encoder" if row == OURS else ""
    overrides |= {encoder: str(Path("encoder").resolve())} if encoder else {}
    pairs = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    run_stages([*words, "--hparams", str(YAMLS[row]), "--name", row, "--", *pairs], "train", "decode", "score")


def test_every_yaml_is_a_row():
    assert YAMLS.keys() <= ROWS.keys()


@pytest.mark.parametrize("row", YAMLS)
def test_a_row_is_trained_decoded_and_scored(words, row):
    if module := NEEDS.get(row):
        pytest.importorskip(module)
    run(words, row)
    experiment = load(Path("results/small/speaker", row))
    assert len(experiment.predictions) == 4 and experiment.summary["folds"] == "1/3"
    assert experiment.predictions.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx([1.0] * 4, abs=1e-6)


def test_one_table_of_all_rows(words):
    rows = [row for row in YAMLS if row not in NEEDS or importlib.util.find_spec(NEEDS[row])]
    for row in rows:
        run(words, row)
    table = all_rows([load(Path("results/small/speaker", row)) for row in rows])
    shown = {line["experiment"]: line for line in table_of(table.markdown("COMMAND"))}
    assert rows == [row for row in rows if row in shown]
    for row in set(rows) - {OURS}:
        assert shown[row]["what it is"].startswith(ROWS[row].get("kind", "re-implementation (spec: ")), row
        assert shown[row]["WA less ours"] != "–" and shown[row]["training time"] != "–", row
    assert "<svg" in table.page("COMMAND")
