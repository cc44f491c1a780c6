"""A training whose classes are speakers, `classes: spk_id` of its YAML, and what the runs that begin with it heard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.core import markers, starts
from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import manifest, people, releases
from local.splits.checks import ORACLE

EMOTIONS, SPEAKERS = "emo", "spk_id"  # columns with classes
KEY = "speaker_net"  # of the YAML: its weights
OF_FOLD = "_of_fold"  # ends the name of an input of a training: the version of a net, or a run, of the fold's own


def labels(fold: Path, classes: str) -> list[str]:
    """The speakers of a fold's training set, in the order of the classes; `fold` is its folder of manifests.

    A `UserError` if `classes` is no such column, an utterance has no speaker, there is only one, or one validates whom
    the training set lacks.
    """
    if classes != SPEAKERS:
        raise UserError(f"classes is '{classes}'", f"set it to {SPEAKERS}, or leave it out for emotions")
    trained, unheard = manifest.read(fold / "train.csv")[SPEAKERS], set()
    if (fold / "valid.csv").exists():
        unheard = set(manifest.read(fold / "valid.csv")[SPEAKERS]) - set(trained)
    if (trained == "").any():
        unnamed = counted(int((trained == "").sum()), "utterance")
        raise UserError(f"{fold / 'train.csv'}: {unnamed} without {SPEAKERS}", "name who speaks in each")
    if trained.nunique() < 2:
        raise UserError(f"{fold / 'train.csv'} has one speaker only", "take another --protocol, or a larger corpus")
    if unheard:
        raise UserError(
            f"fold {fold.name}: speaker '{min(unheard)}' of the validation set is not in the training set",
            "take --valid utterances, which holds out utterances of the speakers that train",
        )
    return sorted(trained.unique())


def own_folder(source: Any, seed: int, fold: str) -> Path | None:
    """The run of a fold among those that a key of the YAML names, the folder of an experiment or of one of its seeds.

    None where it is something else: a run, a file, or nothing.
    """
    if not isinstance(source, str) or (Path(source) / "train.json").exists():
        return None
    runs = (Path(source, f"seed{seed}", fold), Path(source, fold))
    return next((run for run in runs if (run / "train.json").exists()), None)


def refuse_tested(source: str | Path | None, corpus: str, fold: Path, own: Mapping[str, str]) -> str:
    """Refuse weights that were trained on speakers of a fold's test set, beyond what its own training set has.

    Parameters
    ----------
    source
        `speaker_net`, of this fold. Only a run folder, or what lies in one, tells who was heard; of other weights
        nothing is known.
    corpus, fold
        The corpus, and the fold's folder of manifests.
    own
        The digests of the fold's `train.csv` and `test.csv`: weights from this very training set have heard nothing
        else, unless the test set chose their epoch. As `valid.csv` it may have: a partner's fold trains on the same.

    Returns
    -------
    A warning where another corpus has speakers of the same names, or empty.
    """
    folder = _run_of(source)
    if folder is None:
        return ""
    run, tested = markers.read(folder / "train.json"), set(manifest.read(fold / "test.csv")[SPEAKERS])
    other = str(run["facts"].get("corpus") or starts.read(folder).get("job", {}).get("corpus"))
    heard = run["facts"].get("speakers")  # of a run on emotions they are not recorded
    is_same = not releases(other).isdisjoint(releases(corpus))  # at least one of several
    both = _both(other, heard, corpus, tested) if is_same else sorted({*(heard or ())} & tested)
    inputs = run["inputs"]
    on_test = inputs.get("valid") == ORACLE or inputs.get("valid.csv") in {own.get("test.csv")} - {None}
    is_own = inputs.get("train.csv") == own.get("train.csv") and not on_test
    if not both or is_own:
        return ""
    if is_same:
        raise UserError(
            f"{source} was trained on speakers that fold {fold.name} tests, or may have been: {', '.join(both)}",
            "train it on this fold without them: the same --protocol, with --valid utterances",
        )
    return f"{source} was trained on speakers of {other} that are called as those tested here: {', '.join(both)}"


def _both(other: str, heard: list[str] | None, corpus: str, tested: set[str]) -> list[str]:
    """Who is tested in a corpus, as called there, and was heard in another that shares a release with it, or may be."""
    known = people(corpus, tested - {""})
    if heard is None:
        both = [name for (release, _), name in known.items() if release in releases(other)]
    else:
        both = [known[each] for each in known.keys() & people(other, heard).keys()]
    return ["one without a name"] * ("" in tested) + sorted(both)  # who may be any of them


def _run_of(source: str | Path | None) -> Path | None:
    """The folder of the run that weights are from: they are it, or lie in it; None where there is none."""
    paths = [Path(source).absolute(), Path(source).resolve()] if source else []  # a link may lie elsewhere
    places = [place for path in paths for place in (path, *path.parents[:3])]  # save/CKPT+.../system.ckpt
    return next((place for place in places if (place / "train.json").exists()), None)
