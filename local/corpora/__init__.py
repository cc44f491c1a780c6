"""Corpora: one file each, from the release as its owners ship it to one table of utterances.

Only `NAMES` has to name a new corpus besides. Its file offers

`read(data, partial)` -> `Corpus`
    Examine the release at `data` (a folder or a file; None: the corpus's own default folder) and
    return its utterances. A `UserError` names whatever is missing or broken, file by file, unless
    `partial`. Of the user's own data (`csv`) also with the names of its columns, and a folder for audio that
    is in a table.
`recording_fold(recording)` -> str, optional
    The fold of protocol `recording` in which a recording is tested. Without it, each recording is
    a fold where there are at most ten of them, and otherwise they are dealt to ten folds.
`ABOUT` -> `About`
    What a model card says of it: language, licence, terms.
`DEFAULT_FOLDS`, optional
    What `./run.sh` runs when `--folds` is not given; without it, all folds.
`DEFAULT_PROTOCOL`, optional
    The protocol when `--protocol` is not given; without it, `speaker`, or by the columns of the table.
`DEFAULT_HPARAMS`, optional
    The YAML that `./run.sh` takes when `--hparams` is not given.
`FACTS`, optional
    With `sessions` and `speakers`, the names of the folds, so that a wrong one is refused before
    the corpus is examined.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.corpora.faults import Fault

if TYPE_CHECKING:
    import pandas as pd

IEMOCAP = ("iemocap", "iemocap-improvised", "iemocap-unmerged", "iemocap-improvised-unmerged")
OWN = ("csv", "folder")  # the user's own data, named after the file or folder
JOINED, MAPPED = "+", "@"  # in the name of a corpus: between several, and before that of a map of labels
ACTED = (
    *(
        "aesdd",
        "cafe",
        "cremad",
        "cremad-voted",
        "emodb",
        "emovdb",
        "emovo",
        "emozionalmente",
        "esd",
        "esd-all",
        "nemo",
    ),
    *("ravdess", "savee", "tess"),
)
NAMES = ("mini", *IEMOCAP, *ACTED, "meld", "msp-improv", "msp-podcast", *OWN)
FILES = {"csv": "csv_table", "folder": "emotion_folders"}  # csv.py would be taken for Python's own module


def parts(name: str) -> list[str]:
    """The corpora of which one is made, by its name in paths.

    >>> parts("nemo+emodb@4class"), parts("nemo")
    (['nemo', 'emodb'], ['nemo'])
    """
    return name.partition(MAPPED)[0].split(JOINED)


def releases(corpus: str) -> set[str]:
    """The releases in the name of a corpus: without the map of labels, and whatever part of a release it is.

    >>> sorted(releases("nemo+cremad-voted@4class"))
    ['cremad', 'nemo']
    """
    return {first if {first := name.partition("-")[0], name} <= {*NAMES} else name for name in parts(corpus)}


def people(corpus: str, speakers: Iterable[str]) -> dict[tuple[str, str], str]:
    """Speakers by release and name there, for what they are called in a corpus: of several, after theirs (`emodb_03`).

    >>> people("nemo+emodb@4class", ["emodb_03"]), people("emodb", ["03"])
    ({('emodb', '03'): 'emodb_03'}, {('emodb', '03'): '03'})
    """
    names = parts(corpus)
    begin = {f"{name}_": name for name in names} if len(names) > 1 else {"": names[0]}
    return {
        (*releases(name), speaker.removeprefix(start)): speaker
        for speaker in speakers
        for start, name in begin.items()
        if speaker.startswith(start)
    }


@dataclass(frozen=True)
class Corpus:
    """A corpus that has been examined."""

    name: str  # in every path and on every table
    root: Path  # what `$data_root` in the table's `wav` column means
    table: pd.DataFrame  # the utterances (see `local.corpora.manifest`), unsorted
    source: str  # one line on what it is, printed by stage 0 and on the results
    faults: list[Fault] = field(default_factory=list)  # what is missing or broken; empty unless read with `partial`
    rejected: int = 0  # utterances that the corpus has, or should have, besides those of the table
    warnings: list[str] = field(default_factory=list)  # what is used as it is, but may not be meant
    renamed: dict[str, str] = field(default_factory=dict)  # columns that are not used, and what we probably call them
    notes: list[str] = field(default_factory=list)  # what was changed: labels in several spellings
    labels: str = ""  # what a map of labels made of them, see `local.corpora.label_map`
    extra: pd.DataFrame | None = None  # utterances without an emotion, for `--extra-training`, with a column `label`


@dataclass(frozen=True)
class About:
    """What a model card says of a corpus."""

    source: str  # one line on what it is
    language: str | None  # its code of ISO 639-1; None where it is not known
    licence: str  # as the Hugging Face hub names it (`cc-by-nc-sa-4.0`), or a name of our own
    facts: str  # who speaks, and how it was labelled: Markdown
    terms: str  # what may be done with a model trained on it
    labels: Mapping[str, str]  # a word for each label


def module_name(name: str) -> str:
    """The module of a corpus, one of `NAMES` or `several`, by its name in paths; a user's own tables share one."""
    first, *others = parts(name)
    return "several" if others else first if first in NAMES else "csv"


def about(name: str) -> About:
    """What a model card says of the corpus of that name in paths."""
    if len(names := parts(name)) > 1:
        return module("several").about({each: about(each) for each in names})
    return module(module_name(name)).ABOUT


def own_name(data: Path) -> str:
    """The name of the user's own data in paths: that of its folder, or of its file without suffix."""
    path = Path(os.path.abspath(data))
    return path.name if os.path.isdir(path) else path.stem


def file_of(name: str) -> Path:
    """The file of a corpus by its name (one of `NAMES`)."""
    return Path(__file__).with_name(f"{FILES.get(name, name.replace('-', '_'))}.py")


def module(name: str) -> ModuleType:
    """Import the module of a corpus by its name (one of `NAMES`)."""
    return importlib.import_module(f"{__name__}.{file_of(name).stem}")


def read(
    name: str,
    data: Path | None,
    partial: bool,
    columns: Mapping[str, str] | None = None,
    store: Path | None = None,
    unlabelled: bool = False,
) -> Corpus:
    """Examine the corpus of a module (one of `NAMES`) at `data`, and refuse a root that a manifest cannot hold.

    `columns`, `store` and `unlabelled` are for the user's own data: what columns are called there, by our names; where
    audio goes that is in a table as bytes; and whether its rows without an emotion are its `extra`. A folder without
    any list is read as `folder`.
    """
    if name == "csv" and not columns and data is not None and importlib.import_module(f"{__name__}.own").is_tree(data):
        name = "folder"
    own = {"columns": columns, "store": store, "unlabelled": unlabelled} if name == "csv" else {}
    corpus = module(name).read(data, partial, **own)
    if os.fsencode(corpus.root).decode(errors="replace") != str(corpus.root):
        raise UserError(f"the name of {str(corpus.root)!r} is not UTF-8", "rename the folder")
    return corpus
