"""stress.csv: how it grows, what is kept of it, and what is read again."""

from __future__ import annotations

import pandas as pd
import pytest
from random_predictions import predicted

from local.core.conditions import CLEAN, Case
from local.core.errors import UserError
from local.core.files import digest
from local.core.markers import Marker
from local.scoring import metrics, predictions
from local.scoring.stressed import CaseTables, facts, pooled_cases, stressed_runs

WHITE, SLOW, QUIET = Case("white", 0), Case("speed", 0.8), Case("gain", -1)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "results" / "c" / "p" / "n" / "seed3" / "007"
    folder.mkdir(parents=True)
    (folder / "train.json").write_text("{}")
    return folder


def marker(run, **inputs: str) -> Marker:
    return Marker(run / "stress.json", {"training": digest(run / "train.json")} | inputs)


def frame(seed: int, text: bool = True) -> pd.DataFrame:
    table = predicted(3, 4, seed, text=text)
    rows = table[["ID", "emo", *(name for name in table if name.startswith("p_")), "wrd", *["wrd_hyp"][: int(text)]]]
    return predictions.frame(list(rows.itertuples(index=False, name=None)), predictions.labels(table), text)


def test_a_table_is_whole_or_goes_on_where_it_was(run):
    whole = CaseTables(marker(run))
    for seed, case in enumerate((CLEAN, WHITE, SLOW)):
        whole.add(case, frame(seed))
    whole.finish(left_out={}, cut={})
    expected = (run / "stress.csv").read_bytes()
    assert expected.startswith(b"condition,strength,ID,emo_hyp,p_ang,p_hap,p_neu,p_sad,wrd_hyp\nclean,0,u00000,")
    assert not (run / "stress").exists() and facts(run)["cases"] == ["clean", "white_0", "speed_0.8"]

    killed = CaseTables(marker(run), afresh=True)
    assert WHITE not in killed and not (run / "stress.csv").exists() and not (run / "stress.json").exists()
    killed.add(CLEAN, frame(0))
    killed.add(SLOW, frame(2))  # in another order
    resumed = CaseTables(marker(run))
    assert CLEAN in resumed and SLOW in resumed and WHITE not in resumed
    resumed.add(WHITE, frame(1))
    resumed.finish(left_out={}, cut={})
    assert (run / "stress.csv").read_bytes() == expected


def test_cases_are_added_to_those_that_are_done(run):
    first = CaseTables(marker(run))
    first.add(CLEAN, frame(0))
    first.add(WHITE, frame(1))
    first.finish(left_out={}, cut={})
    more = CaseTables(marker(run))
    assert CLEAN in more and WHITE in more
    assert (run / "stress.json").exists()  # they stay, whatever happens
    more.add(QUIET, frame(4))
    more.finish(left_out={}, cut={})
    assert facts(run)["cases"] == ["clean", "white_0", "gain_-1"]


def test_killed_between_the_table_and_its_marker_no_case_is_lost(run, monkeypatch):
    first = CaseTables(marker(run))
    first.add(CLEAN, frame(0))
    first.finish(left_out={}, cut={})
    more = CaseTables(marker(run))
    more.add(WHITE, frame(1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Marker, "write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        more.finish(left_out={}, cut={})
    again = CaseTables(marker(run))
    assert CLEAN in again and WHITE in again and not (run / "stress.csv").exists()


def test_what_was_made_of_another_training_is_forgotten(run):
    first = CaseTables(marker(run))
    first.add(CLEAN, frame(0))
    assert CLEAN not in CaseTables(marker(run, distortions="2"))
    done = CaseTables(marker(run))
    done.add(CLEAN, frame(0))
    done.finish(left_out={}, cut={})
    assert stressed_runs([run]) == [run]
    (run / "train.json").write_text('{"new": 1}')
    assert stressed_runs([run]) == [] and CLEAN not in CaseTables(marker(run))


@pytest.mark.parametrize("text", [True, False])
def test_the_predictions_of_a_case_are_read_as_they_were(run, text):
    made = CaseTables(marker(run))
    for seed, case in enumerate((CLEAN, SLOW)):
        made.add(case, frame(seed, text))
    made.finish(left_out={}, cut={})
    clean = predicted(3, 4, 0, text=text).drop(columns=[] if text else "wrd_hyp")
    cases = pooled_cases([run], clean.assign(seed=3, fold="007", duration=1.0))
    assert [*cases] == [CLEAN, SLOW]
    other = frame(1, text)
    assert cases[SLOW]["emo_hyp"].tolist() == other["emo_hyp"].tolist()
    assert cases[SLOW]["emo"].tolist() == clean["emo"].tolist() and cases[SLOW]["p_hap"].equals(other["p_hap"])
    assert set(metrics.EDITS) <= set(cases[SLOW]) and ("wrd_hyp" in cases[SLOW]) == text


def test_a_case_of_some_runs_is_left_out_and_a_damaged_table_is_named(run):
    other = run.with_name("008")
    other.mkdir()
    (other / "train.json").write_text("{}")
    for each, cases in ((run, (CLEAN, WHITE)), (other, (CLEAN, SLOW))):
        made = CaseTables(marker(each))
        for case in cases:
            made.add(case, frame(0))
        made.finish(left_out={}, cut={})
    pooled = pd.concat([predicted(3, 4, 0).assign(seed=3, fold=fold) for fold in ("007", "008")], ignore_index=True)
    assert [*pooled_cases([run, other], pooled)] == [CLEAN]
    (other / "stress.csv").write_text("condition,strength\nwhite,much\n")
    with pytest.raises(UserError, match=r"008/stress\.csv is damaged"):
        pooled_cases([run, other], pooled)
