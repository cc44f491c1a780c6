"""Corpora: one module each, from the release as its owners ship it to one table of utterances.

A corpus module offers

`read(data, partial)` -> `Corpus`
    Examine the release at `data` (a folder or a file; None: the corpus's own default place) and
    return its utterances. Whatever is broken is named, file by file; unless `partial`, it ends in
    a `UserError`.
`recording_fold(recording)` -> str, optional
    The fold of protocol `recording` in which a recording is tested. Without it, each recording is
    a fold where there are at most ten of them, and else they are dealt to ten folds.
`ABOUT` -> `About`
    What a model card says of it: language, licence, terms.
`DEFAULT_FOLDS`, optional
    What `./run.sh` runs when `--folds` is not given; without it, all folds.
`DEFAULT_HPARAMS`, optional
    The YAML that `./run.sh` takes when `--hparams` is not given.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from local.corpora.faults import Fault

NAMES = ("mini", "iemocap", "nemo", "csv")


@dataclass(frozen=True)
class Corpus:
    """A corpus that has been examined.

    Attributes
    ----------
    name
        Stands in every path and on every table.
    root
        What `$data_root` stands for in the table's `wav` column.
    table
        The utterances (see `local.corpora.manifest`), unsorted.
    source
        One line on what it is, printed by stage 0 and on the results.
    faults
        What is missing or broken; only a corpus read with `partial` has any.
    rejected
        How many utterances the corpus has, or should have, besides those of the table.
    """

    name: str
    root: Path
    table: pd.DataFrame
    source: str
    faults: list[Fault] = field(default_factory=list)
    rejected: int = 0


@dataclass(frozen=True)
class About:
    """What a model card says of a corpus.

    Attributes
    ----------
    source
        One line on what it is.
    language
        Its code of ISO 639-1; None where it is not known.
    licence
        As the Hugging Face hub names it (`cc-by-nc-sa-4.0`), or a name of our own.
    facts
        Who speaks, and how it was labelled: Markdown.
    terms
        What may be done with a model trained on it.
    labels
        A word for each label.
    """

    source: str
    language: str | None
    licence: str
    facts: str
    terms: str
    labels: Mapping[str, str]


def about(name: str) -> About:
    """What a model card says of the corpus of that name in paths; a user's own tables share one."""
    return module(name if name in NAMES else "csv").ABOUT


def module(name: str) -> ModuleType:
    """Import the module of a corpus by its name (one of `NAMES`)."""
    # `csv` would shadow nothing here, but a module of that name invites confusion with Python's own.
    return importlib.import_module(f"local.corpora.{'csv_table' if name == 'csv' else name}")
