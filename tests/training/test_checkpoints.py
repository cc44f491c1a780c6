"""Checkpoints that are damaged, missing, or do not fit on the disk: the run ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
import unshared
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import Corpus, Interruption, Recorder, assert_same_runs, build, fit

from local.core.errors import UserError
from local.scoring import metrics
from local.training.brain import EmotionBrain
from local.training.checkpoints import KEPT, RunCheckpointer, damage_of

FILES = ("system.ckpt", "optimizer.ckpt", "scheduler.ckpt", "brain.ckpt", "epoch_counter.ckpt", "CKPT.yaml")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def run(corpus: Corpus, folder: Path, interrupt: tuple | None = None, **values) -> Recorder:
    """A run that begins or resumes, validated on some utterances; when it resumes its first weights do not matter."""
    brain = build(corpus, folder, system_seed=99 if (folder / "epochs.csv").exists() else 1, **values)
    brain.interrupt = interrupt
    if interrupt is None:
        return fit(brain, corpus.utterances(corpus.table[::3]))
    with pytest.raises(Interruption):
        fit(brain, corpus.utterances(corpus.table[::3]))
    return brain


def folder_of(folder: Path, epoch: int) -> Path:
    """The checkpoint of an epoch's end."""
    [found] = [each for each in RunCheckpointer(folder / "save").list_checkpoints() if each.meta["epoch"] == epoch]
    return found.path


# Damage


def flip_a_bit(path: Path, draw: random.Random) -> None:
    """Flip one bit of a file; of a YAML file one that changes its content."""
    old = path.read_bytes()
    while True:
        new = bytearray(old)
        new[draw.randrange(len(new))] ^= 1 << draw.randrange(8)
        path.write_bytes(new)
        try:
            if path.suffix != ".yaml" or yaml.safe_load(bytes(new)) != yaml.safe_load(old):
                return
        except yaml.YAMLError:
            return


DAMAGES = {
    "truncated": lambda path, draw: path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)]),
    "a bit": flip_a_bit,
    "removed": lambda path, draw: path.unlink(),
    "emptied": lambda path, draw: path.write_bytes(b""),
}


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory) -> Recorder:
    return run(corpus, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def interrupted(corpus, tmp_path_factory) -> Path:
    """A run that was cut off when its third epoch began."""
    folder = tmp_path_factory.mktemp("part")
    assert set(FILES) == {path.name for path in folder_of(run(corpus, folder, ("TRAIN", 3)).folder, 2).iterdir()}
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        if damage == "truncated" or name in ("system.ckpt", "CKPT.yaml")
        else pytest.param(name, damage, marks=pytest.mark.slow)
        for name in FILES
        for damage in DAMAGES
    ],
)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    corpus, tmp_path, caplog, uninterrupted, interrupted, name, damage
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    latest = folder_of(folder, 2)
    DAMAGES[damage](latest / name, random.Random(f"{name} {damage}"))
    caplog.set_level("INFO")
    assert_same_runs(run(corpus, folder), uninterrupted)
    messages = [record.getMessage() for record in caplog.records]
    # Another may have been saved under its name, which is that of the second.
    reported = [message for message in messages if str(latest) in message and not message.startswith("Saved")]
    if (name, damage) == ("CKPT.yaml", "removed"):  # as if it had not been finished
        assert reported == [f"removing {latest}, which was not finished"]
    else:
        wrong = f"{name} is missing" if damage == "removed" else f"the checksum of {name} differs"
        assert reported == [f"{latest} is damaged: {wrong}; the one before is used"]
    assert "resuming after epoch 1" in messages


def test_with_all_of_them_damaged_it_starts_over(corpus, tmp_path, uninterrupted, interrupted):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    for path in (folder / "save").glob("*/optimizer.ckpt"):
        flip_a_bit(path, random.Random(1))
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    brain = build(corpus, folder)  # the seed of a run that begins
    assert_same_runs(fit(brain, corpus.utterances(corpus.table[::3])), uninterrupted)


@pytest.fixture
def scored(monkeypatch):
    """Let the epochs have made-up validation UAs."""

    def give(*uas: float) -> None:
        current, scores, end = {}, metrics.scores, EmotionBrain.on_stage_end

        def on_stage_end(self, stage, stage_loss: float, epoch: int) -> None:
            current["ua"] = uas[epoch - 1]
            end(self, stage, stage_loss, epoch)

        monkeypatch.setattr(metrics, "scores", lambda predictions: scores(predictions) | current)
        monkeypatch.setattr(EmotionBrain, "on_stage_end", on_stage_end)

    return give


@pytest.fixture(scope="module")
def pairs() -> dict:
    """Runs with made-up UAs, uninterrupted and cut off when their fourth epoch began."""
    return {}


@pytest.mark.parametrize(("lost", "again"), [("damaged", None), ("gone", ("TRAIN", 3))], ids=["damaged", "gone"])
@pytest.mark.parametrize(
    ("uas", "last", "best", "resumed"),
    [
        pytest.param((0.9, 0.5, 0.6, 0.7), 1, 1, None, marks=pytest.mark.slow),  # all need it
        pytest.param((0.5, 0.9, 0.6, 0.7), 1, 2, None, marks=pytest.mark.slow),
        pytest.param((0.5, 0.6, 0.9, 0.7), 1, 3, 2, marks=pytest.mark.slow),  # it is the latest itself
        ((0.5, 0.9, 0.6, 0.7), 3, 2, 1),
    ],
    ids=["1", "2", "3", "1 before 2"],
)
def test_without_the_best_it_resumes_from_before_the_best(
    corpus, tmp_path, tmp_path_factory, caplog, scored, pairs, uas, last, best, resumed, lost, again
):
    scored(*uas)
    values = {"epochs": 4, "keep_last": last}
    if (uas, last) not in pairs:
        place = tmp_path_factory.mktemp("pair")
        whole = run(corpus, place / "whole", **values)
        pairs[uas, last] = whole, run(corpus, place / "part", ("TRAIN", 4), **values).folder
    whole, part = pairs[uas, last]
    folder = shutil.copytree(part, tmp_path / "run")
    path = folder_of(folder, best)
    if lost == "damaged":
        flip_a_bit(path / "system.ckpt", random.Random(best))
    else:
        shutil.rmtree(path)
    caplog.set_level("INFO")
    for interrupt in [again, None] if again else [None]:
        brain = build(corpus, folder, **values)
        brain.interrupt = interrupt
        with contextlib.suppress(Interruption):
            fit(brain, corpus.utterances(corpus.table[::3]))
    assert_same_runs(brain, whole)
    found = re.findall(r"resuming after epoch (\d)|is not used: the best checkpoint until then is missing", caplog.text)
    unused = 3 - best  # the latest is of epoch 3
    assert found == [""] * unused + [str(resumed)] * (resumed is not None) + ["2"] * (again is not None)


def test_the_chosen_one_is_refused_if_it_is_damaged(corpus, tmp_path, scored):
    scored(0.5, 0.9, 0.6)
    brain = run(corpus, tmp_path)
    assert brain.checkpointer.chosen().meta["epoch"] == 2
    for name in ("optimizer.ckpt", "CKPT.yaml"):
        flip_a_bit(folder_of(tmp_path, 2) / name, random.Random(name))
        with pytest.raises(UserError) as error:
            brain.checkpointer.chosen()
        assert re.fullmatch(
            rf"{re.escape(str(tmp_path / 'save'))}/CKPT\S+ is damaged: the checksum of {name} differs", error.value.what
        )
        assert error.value.remedy == (
            f"remove {tmp_path / 'train.json'} and run stage 2: it resumes from the checkpoint before"
        )


def test_any_changed_bit_of_the_meta_data_is_noticed(tmp_path):
    checkpointer = RunCheckpointer(tmp_path, {"layer": torch.nn.Linear(1, 1)})
    checkpointer.save_and_keep({"epoch": 1, "ua": 0.5, "wer": 0.25}, last=1)
    [checkpoint] = checkpointer.list_checkpoints()
    path = checkpoint.path / "CKPT.yaml"
    sound = path.read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        path.write_bytes(sound)
        flip_a_bit(path, draw)
        assert checkpointer.list_checkpoints() == []
    path.write_bytes(sound)
    assert checkpointer.list_checkpoints() == [checkpoint]


# A full disk


def save_on_a_full_disk(folder: Path) -> None:
    corpus = Corpus(folder)
    brain = build(corpus, folder / "run")
    brain.interrupt = ("TRAIN", 2)
    with pytest.raises(Interruption):
        fit(brain, corpus.utterances(corpus.table[::3]))
    first = folder_of(brain.folder, 1)
    size = sum(path.stat().st_size for path in first.iterdir())
    wanted = sum(value.nbytes for value in brain.system.state_dict().values())
    for share in (0.2, 0.8):  # it is full within the first file, and within the last
        unshared.fill(folder, free=int(share * size))
        brain = build(corpus, folder / "run", system_seed=99)
        with pytest.raises(UserError) as error:
            fit(brain, corpus.utterances(corpus.table[::3]))
        found = re.fullmatch(
            rf"{folder}/run/save/CKPT\S+/\w+\.ckpt cannot be written, the disk is full: "
            r"it needs ([\d,]+) bytes, ([\d,]+) are free",
            error.value.what,
        )
        assert found, error.value.what
        needed, free = (int(number.replace(",", "")) for number in found.groups())
        assert wanted < needed <= size and abs(free - share * size) < 5000, (needed, size, free, share * size)
        assert [path for path in (brain.folder / "save").iterdir()] == [first]
        [kept] = brain.checkpointer.list_checkpoints()
        assert damage_of(kept.path) == ""
        (folder / "ballast").unlink()
    brain = fit(build(corpus, folder / "run", system_seed=99), corpus.utterances(corpus.table[::3]))
    assert_same_runs(brain, fit(build(corpus, folder / "whole"), corpus.utterances(corpus.table[::3])))


@pytest.mark.slow  # of single files, tests/core/test_files.py has it
def test_a_full_disk_is_reported_and_earlier_checkpoints_stay(tmp_path):
    unshared.on_a_small_disk(save_on_a_full_disk, tmp_path, "size=16m")


# What is kept

UAS = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 0.75]), st.sampled_from([None, 0.5, 1.5])), min_size=1, max_size=7)


def best_of(scores: list[tuple[float, float | None]]) -> int:
    """The epoch that is taken: highest UA, then lowest WER, then the earliest."""
    return min(range(len(scores)), key=lambda index: (-scores[index][0], scores[index][1] or 0, index)) + 1


@settings(max_examples=25, deadline=None)
@given(scores=UAS, last=st.integers(1, 4))
def test_when_the_latest_are_damaged_the_one_before_still_has_its_best(tmp_path_factory, scores, last):
    folder = tmp_path_factory.mktemp("kept")
    checkpointer = RunCheckpointer(folder, {"layer": torch.nn.Linear(1, 1)})
    for epoch, (ua, wer) in enumerate(scores, 1):
        checkpointer.save_and_keep({"epoch": epoch, "ua": ua, "wer": wer}, last=last)
        kept = {checkpoint.meta["epoch"]: checkpoint.path for checkpoint in checkpointer.list_checkpoints()}
        latest = range(max(1, epoch + 1 - max(last, KEPT)), epoch + 1)
        assert kept.keys() == {*latest, *(best_of(scores[:each]) for each in latest)}
    log = [{"epoch": epoch, "ua": ua, "wer": wer} for epoch, (ua, wer) in enumerate(scores, 1)]
    for epoch in reversed(latest):
        (kept[epoch] / "layer.ckpt").write_bytes(b"")
        found = checkpointer.recover_latest(log)
        if epoch > latest[0]:
            assert found.meta["epoch"] == epoch - 1
            assert checkpointer.chosen().meta["epoch"] == best_of(scores[: epoch - 1])


def test_a_checkpoint_within_an_epoch_replaces_its_kind_and_no_end_of_an_epoch(tmp_path):
    checkpointer = RunCheckpointer(tmp_path, {"layer": torch.nn.Linear(1, 1)})

    def kept() -> list[tuple[int, int | None]]:
        metas = [checkpoint.meta for checkpoint in checkpointer.list_checkpoints()]
        return sorted(((meta["epoch"], meta["updates"]) for meta in metas), key=lambda place: (place[0], place[1] or 9))

    seen = []
    for epoch, ua in enumerate((0.9, 0.5, 0.6), 1):
        for updates in (3, 6):
            checkpointer.save_within_epoch(epoch, updates)
            seen.append(kept())
        checkpointer.save_and_keep({"epoch": epoch, "ua": ua, "wer": None}, last=1)
        seen.append(kept())
    one, two, three = (1, None), (2, None), (3, None)
    assert seen == [
        [(1, 3)],
        [(1, 6)],
        [one],
        [one, (2, 3)],
        [one, (2, 6)],
        [one, two],
        [one, two, (3, 3)],
        [one, two, (3, 6)],
        [one, two, three],
    ]
