"""Models tested on another corpus: `./run.sh --stage 3 ... --test-corpus C`.

Stages 3 to 5 and 7 find what they need where they always do, below names that say where the models are from:

`manifests/<test corpus>/from_<corpus>@<protocol>/<fold>`
    the fold's `train.csv`, `valid.csv` and tokenizer as they were trained with, and the whole test corpus as `test.csv`
`results/<test corpus>/from_<corpus>@<protocol>/<name>/seed<S>/<fold>`
    what the run folder says of the training, and a link to its checkpoints
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from local.core import markers
from local.core.errors import UserError
from local.core.files import atomic, digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import manifest, several
from local.experiment.job import TRAINED_ON, Job, copy_training_log
from local.experiment.options import Options
from local.splits import naming

if TYPE_CHECKING:
    import pandas as pd

OF_RUN = ("hyperparams.yaml", "env.json", "begun.json", "epochs.csv")
TEMPERATURE = "temperature.json"  # where stage 3 has run for the corpus of the training, too
TRAINED = "train.json"  # written last
CHECKPOINTS = "save"
NO_PROMISE = "random"  # of protocols, the one that promises no more than what holds for all


def borrow(options: Options) -> None:
    """Make the manifests and run folders with which the models of an experiment are tested on another corpus.

    `options` are as from `Options.tested`. A `UserError` where a run is not trained, the corpus has a label that the
    models have not, or it has a file that they were trained on.
    """
    with locked(options.corpus_folder / ".lock", f"makes {options.folds_folder(options.chosen_valid())}"):
        _make_manifests(options)
    for job in Job.all(options):
        trained = options.source.run_folder(job.seed, job.fold)
        _make_run(job, trained)
        _take_temperature(job.folder / TEMPERATURE, trained / TEMPERATURE)


def _make_manifests(options: Options) -> None:
    from local.splits import audit  # which loads pandas

    valid = options.chosen_valid()
    folder, source = options.folds_folder(valid), options.source.folds_folder(valid)
    trained = markers.read(source / "folds.json")["facts"]
    inputs = {"utterances": digest(options.corpus_folder / "all.csv"), "folds": digest(source / "folds.json")}
    inputs |= {"extra": digest(options.source.extra_file())} if options.source.extra_training else {}
    marker = Marker(folder / "folds.json", inputs)
    if marker.is_done(f"the test of {options.corpus}", options.force, redo=True):
        return
    table, labels = options.table, trained["labels"]
    _refuse_other_labels(options, labels)
    leaks = _audit(options, source, trained["sizes"])
    folder.mkdir(parents=True, exist_ok=True)
    audit.write_leaks(folder / "leaks.csv", leaks)
    outputs, lines, sizes = [folder / "leaks.csv"], manifest.lines(table), {}
    for fold, counts in trained["sizes"].items():
        (folder / fold).mkdir(exist_ok=True)
        outputs += _copy(source / fold, folder / fold, TRAINED_ON)
        manifest.write_lines(folder / fold / "test.csv", manifest.columns_of(table), lines)
        outputs.append(folder / fold / "test.csv")
        sizes[fold] = counts | {"test": len(table)}
    marker.write(outputs, labels=labels, sizes=sizes)


def _refuse_other_labels(options: Options, labels: list[str]) -> None:
    """Raise a UserError where the corpus has labels that the models do not know."""
    counts = options.table["emo"].value_counts()
    if other := {label: n for label, n in counts.items() if label not in labels}:
        found = ", ".join(f"{label} {n}" for label, n in sorted(other.items()))
        raise UserError(
            f"{options.corpus} has labels that the models of {options.source.corpus} do not know: {found}",
            f"train and test with one map of labels (--labels); theirs are {' '.join(labels)}",
        )


def _audit(options: Options, source: Path, folds: Iterable[str]) -> pd.DataFrame:
    """What each fold's training and validation set share with the corpus; a `UserError` for a file in both.

    Speakers, sessions and recordings are compared by the names that their own corpora give them: those of like names
    may be the same, as in two tables of one user, or not.
    """
    from local.splits import audit

    trained, tested = options.source, options
    more = {trained.corpus: manifest.read(trained.extra_file())} if trained.extra_training else {}
    joined = several.join({each.corpus: each.corpus_folder for each in (trained, tested)}, more, named=["ID"])
    ours = joined.table["corpus"] == tested.corpus
    splits = {}
    for fold in folds:
        sets = ours.map({True: "test", False: ""})
        for name in ("train", "valid"):
            if (path := source / fold / f"{name}.csv").exists():
                sets[joined.table["ID"].isin(f"{trained.corpus}_" + manifest.read(path)["ID"])] = name
        splits[fold] = sets
    leaks = audit.find_leaks(splits, audit.keys(joined.table, joined.root))
    audit.refuse(NO_PROMISE, leaks, tested=tested.corpus)
    return leaks


def _make_run(job: Job, trained: Path) -> None:
    """Make the run folder of a job of the folder in which it was trained, unless it is that of this training."""
    if not (trained / TRAINED).exists():
        raise UserError(f"{trained} is not trained", "run stage 2 first, or name the folds that are: --folds")
    if _is_made(job.folder, trained):
        return
    with locked(job.folder / ".lock", f"works in {job.folder}"):
        if _is_made(job.folder, trained):  # by another command, meanwhile
            return
        _copy(trained, job.folder, OF_RUN)
        copy_training_log(trained, job.folder)
        link = job.folder / CHECKPOINTS
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(trained / CHECKPOINTS, job.folder))
        _copy(trained, job.folder, (TRAINED,))


def _take_temperature(path: Path, trained: Path) -> None:
    """Let a run have the temperature of the trained one, which that may have got, or lost, since the last time.

    What was decoded with another is decoded again.
    """
    if not trained.exists():
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != trained.read_bytes():
        _copy(trained.parent, path.parent, (TEMPERATURE,))


def _is_made(folder: Path, trained: Path) -> bool:
    return _is_same(folder, trained) and (folder / CHECKPOINTS).is_symlink()


def _is_same(folder: Path, trained: Path) -> bool:
    """Whether a run folder is of the training that another one holds now."""
    of_both = [path.read_bytes() if path.exists() else b"" for path in (folder / TRAINED, trained / TRAINED)]
    return of_both[0] == of_both[1] != b""


def refuse_retrained(runs: Iterable[Path]) -> None:
    """Raise a `UserError` for a run whose model was trained again since it was tested on another corpus.

    Not for one whose training was deleted, nor for runs that were tested on the corpus of their training.
    """
    for run in map(Path.absolute, runs):
        tested, protocol, *below = run.parts[-5:]
        if found := naming.trained_on(protocol):
            trained = run.parents[4].joinpath(*found, *below)
            if trained.exists() and not _is_same(run, trained):
                raise UserError(
                    f"{trained} was trained again, or is to be, after {run} tested its model",
                    f"run stages 2 to 4 with --test-corpus {tested}",
                )


def _copy(source: Path, folder: Path, names: Iterable[str]) -> list[Path]:
    """Copy those files of a folder that it has; return the copies."""
    copied = [folder / name for name in names if (source / name).exists()]
    for path in copied:
        with atomic(path, "wb") as file:
            file.write((source / path.name).read_bytes())
    return copied
