"""Trainings whose classes are speakers: their labels, and weights that have heard who is tested."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from local.core.errors import UserError
from local.core.markers import Marker
from local.corpora.manifest import COLUMNS
from local.experiment import speakers
from local.experiment.command_line import parse
from local.experiment.encoder_version import encoder_version
from local.experiment.job import Job

OWN = {"train.csv": "digest", "test.csv": "digest of the tested"}


def fold(place: Path, name: str = "F", **sets: str) -> Path:
    """A fold's folder whose manifests have an utterance for each letter, of the speaker of that letter."""
    (place / name).mkdir()
    for part, letters in sets.items():
        rows = [{"ID": f"{part}{number}", "spk_id": letter.strip()} for number, letter in enumerate(letters)]
        table = pd.DataFrame(rows).reindex(columns=COLUMNS, fill_value="").assign(duration=1.0)
        table.to_csv(place / name / f"{part}.csv", index=False)
    return place / name


def run(place: Path, corpus: str, heard: str, train: str = "of another fold") -> Path:
    """The folder of a run that has ended."""
    marker = Marker(place / "train.json", {"train.csv": train})
    place.mkdir(parents=True, exist_ok=True)
    marker.write(corpus=corpus, speakers=list(heard))
    return place


def test_the_classes_are_the_speakers_of_the_training_set(tmp_path):
    assert speakers.labels(fold(tmp_path, train="BABC", valid="AB", test="D"), "spk_id") == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("classes", "sets", "why"),
    [
        ("gender", {"train": "AB"}, "classes is 'gender'"),
        ("spk_id", {"train": "AB B"}, "1 utterance without spk_id"),
        ("spk_id", {"train": "AAA"}, "one speaker only"),
        ("spk_id", {"train": "AB", "valid": "AD"}, "speaker 'D' of the validation set"),
    ],
)
def test_what_has_no_such_classes(tmp_path, classes, sets, why):
    with pytest.raises(UserError, match=why):
        speakers.labels(fold(tmp_path, **sets), classes)


def test_weights_that_heard_a_tested_speaker_are_refused_in_the_same_corpus(tmp_path):
    tested, net = fold(tmp_path, train="CD", test="AAB"), tmp_path / "net"
    with pytest.raises(UserError, match="speakers that fold F tests, or may have been: A, B"):
        speakers.refuse_tested(run(net, "own", "ABX"), "own", tested, OWN)
    with pytest.raises(UserError, match=r"speakers that fold F tests.*: B"):  # the same actors
        speakers.refuse_tested(run(net, "iemocap-improvised", "BX"), "iemocap", tested, OWN)
    assert not speakers.refuse_tested(run(net, "own", "CDX"), "own", tested, OWN)
    with pytest.raises(UserError, match=r"fold G tests.*: one without a name"):
        speakers.refuse_tested(net, "own", fold(tmp_path, "G", train="CD", test="A "), OWN)
    # Where a protocol has a speaker in both sets, the very training set of the fold adds nothing to it.
    assert not speakers.refuse_tested(run(net, "own", "ABX", train="digest"), "own", tested, OWN)
    for on_test in ({"valid": "oracle"}, {"valid": "partner", "valid.csv": OWN["test.csv"]}):
        Marker(net / "train.json", {"train.csv": OWN["train.csv"]} | on_test).write(corpus="own")
        with pytest.raises(UserError, match="speakers that fold F tests, or may have been: A, B"):
            speakers.refuse_tested(net, "own", tested, OWN)


def test_weights_within_a_run_are_those_of_the_run_and_one_on_emotions_may_have_heard_anybody(tmp_path):
    tested, net = fold(tmp_path, train="CD", test="AB"), run(tmp_path / "net", "own", "AX")
    for name in ("model", "save/CKPT+1/system.ckpt"):
        with pytest.raises(UserError, match=r"fold F tests.*: A"):
            speakers.refuse_tested(net / name, "own", tested, OWN)
    (tmp_path / "link.ckpt").symlink_to(net / "save/CKPT+1/system.ckpt")
    with pytest.raises(UserError, match=r"fold F tests.*: A"):
        speakers.refuse_tested(tmp_path / "link.ckpt", "own", tested, OWN)
    Marker(net / "train.json", {"train.csv": "of another fold"}).write()
    (net / "env.json").write_text('{"commit": "abc", "job": {"corpus": "own"}}')
    with pytest.raises(UserError, match=r"fold F tests.*: A, B"):
        speakers.refuse_tested(net / "model", "own", tested, OWN)
    assert not speakers.refuse_tested(net / "model", "other", tested, OWN)


def test_corpora_of_several_are_taken_apart(tmp_path):
    """A speaker is called after the corpus where there are several, and by the name alone in it itself."""
    net, tested = tmp_path / "net", fold(tmp_path, train="CD", test="AB")

    def heard(corpus: str, names: list[str] | None, here: str = "emodb") -> str:
        net.mkdir(exist_ok=True)
        facts = {"corpus": corpus} | ({"speakers": names} if names else {})
        Marker(net / "train.json", {"train.csv": "other"}).write(**facts)
        try:
            return speakers.refuse_tested(net, here, tested, OWN) or "nothing"
        except UserError as error:
            return error.what

    assert heard("nemo+emodb", ["emodb_A", "nemo_B"]).endswith("fold F tests, or may have been: A")
    assert heard("nemo+emodb@4class", ["emodb_A", "emodb_B"], "emodb@4class").endswith(": A, B")
    assert heard("nemo+emodb", ["nemo_A", "nemo_B"]) == "nothing"
    assert heard("nemo+emodb", None).endswith("may have been: A, B")
    table = pd.read_csv(tested / "test.csv").assign(spk_id=["emodb_A", "nemo_B"])
    table.to_csv(tested / "test.csv", index=False)
    assert heard("emodb", ["A", "B"], "nemo+emodb").endswith(": emodb_A")
    assert heard("nemo", None, "nemo+emodb").endswith(": nemo_B")
    assert heard("ravdess+tess", ["ravdess_A"], "nemo+emodb") == "nothing"


def test_names_that_two_corpora_share_are_a_warning_and_other_weights_tell_nothing(tmp_path):
    tested, net = fold(tmp_path, train="CD", test="AB"), tmp_path / "net"
    assert "of voices that are called as those tested here: B" in speakers.refuse_tested(
        run(net, "voices", "BX"), "own", tested, OWN
    )
    for source in (None, tmp_path, tmp_path / "net.pth"):
        assert not speakers.refuse_tested(source, "own", tested, OWN)


def test_a_fold_takes_its_own_run_of_an_experiment_or_of_a_seed(tmp_path):
    one, other = (run(tmp_path / "speakers" / "seed1" / name, "own", "AB") for name in ("F", "G"))
    for source in (tmp_path / "speakers", tmp_path / "speakers" / "seed1"):
        assert speakers.own_folder(str(source), 1, "F") == one and speakers.own_folder(str(source), 1, "G") == other
        assert speakers.own_folder(str(source), 1, "H") is None
    assert speakers.own_folder(str(one), 1, "F") is None and speakers.own_folder(None, 1, "F") is None


def test_the_version_of_a_run_is_that_of_what_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = run(tmp_path / "net", "own", "AB")
    before = encoder_version(str(net), "speaker_net")
    (net / "train.log").write_text("trained already\n")
    assert encoder_version(str(net), "speaker_net") == before
    run(net, "own", "ABC")
    assert encoder_version(str(net), "speaker_net") != before


def test_a_job_of_speakers_has_their_number_and_no_stage_after_its_training(own_corpus):
    """The partner, who validates by default, is not among them."""
    words = [*own_corpus[:4], "--hparams", "hparams/pretraining/speaker_xvector.yaml", "--folds", "1A"]
    with pytest.raises(UserError, match="speaker '1B' of the validation set"):
        Job.all(parse(words))
    Path("manifests/own/speaker/1A/valid.csv").unlink()
    (job,) = Job.all(parse(words))
    assert job.labels == ["2A", "2B"] and "n_labels: 2" in job.yaml
    with pytest.raises(UserError, match="not emotions") as error:
        job.is_done("decode")
    assert f"--speaker-net {job.folder}" in error.value.remedy
