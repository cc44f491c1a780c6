"""Several corpora as one: `--corpus "nemo emodb"`, of those that stage 0 has made one by one.

    ./run.sh --corpus nemo --data NEMO --stop-stage 0
    ./run.sh --corpus emodb --data EMODB --stop-stage 0
    ./run.sh --corpus "nemo emodb" --labels 4class --protocol corpus

Each is made without a map of labels, which is for all of them together. The name in paths is `nemo+emodb`. Utterances,
speakers, sessions and recordings have the name of their corpus before their own (`emodb_03`), as two corpora may both
have a speaker 03; the column `corpus` has it by itself. Labels are compared by name, so a map makes them the same.
Languages and alphabets may differ: the tokens are those of all training texts, and an utterance without text trains the
emotion alone.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.core import markers
from local.core.errors import UserError
from local.corpora import JOINED, MAPPED, NAMES, About, Corpus, manifest
from local.corpora.faults import Fault
from local.corpora.manifest import DATA_ROOT, NUMBERS

if TYPE_CHECKING:
    import pandas as pd

NAMED = ("ID", "spk_id", "session", "recording")  # columns that get the name of the corpus


def join(
    folders: Mapping[str, Path],
    more: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    named: Collection[str] = NAMED,
) -> Corpus:
    """Make one corpus of several, by name the folders where stage 0 has made them.

    `more` has by name further utterances, those of `--extra-training`, which are then in the table, too; `named` are
    the columns that get the name of the corpus.
    A `UserError` where one of them is not made, or two utterances would have one ID.
    """
    facts, tables = {}, {}
    for name, folder in folders.items():
        if not (folder / "all.csv").is_file():
            raise UserError(*not_there(name, folder))
        facts[name], tables[name] = markers.read(folder / "all.json")["facts"], manifest.read(folder / "all.csv")
        tables[name] = manifest.concat([tables[name], more[name]]) if name in more else tables[name]
    root = Path(os.path.commonpath([each["root"] for each in facts.values()]))
    table = manifest.concat(
        _named(name, tables[name], Path(each["root"]).relative_to(root), named) for name, each in facts.items()
    )
    if (twice := table["ID"].duplicated()).any():
        raise UserError(f"two utterances would be called {table['ID'][twice].iloc[0]}", "rename one of the corpora")

    def told(key: str) -> list[str]:
        return [f"{name}: {line}" for name, each in facts.items() for line in each.get(key, [])]

    return Corpus(
        JOINED.join(folders),
        root,
        table,
        "; ".join(f"{name}: {each['source']}" for name, each in facts.items()),
        [Fault("", None, "", line) for line in told("faults")],
        sum(each.get("rejected", 0) for each in facts.values()),
        told("warnings") + _of_unlike_scales(tables),
        notes=told("notes"),
    )


def _of_unlike_scales(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A warning for each kind of rating that several corpora have: nobody brings them to one scale."""
    having = {
        kind: [name for name, table in tables.items() if kind in table and (table[kind] != "").any()]
        for kind in NUMBERS
    }
    return [
        f"{kind}: {' and '.join(names)} have each its own scale; a head of it learns them as one, and its CCC is of "
        "what the scales differ by, too"
        for kind, names in having.items()
        if len(names) > 1
    ]


def not_there(name: str, folder: Path) -> tuple[str, str]:
    """Say that one of several corpora is not made yet, or with a map of labels alone, and what to do."""
    word = name if name in NAMES else "csv"
    remedy = f"make each by itself, without --labels: ./run.sh --corpus {word} --data PATH --stop-stage 0"
    found = sorted(path.parent.name for path in folder.parent.glob(f"{glob.escape(name)}{MAPPED}*/all.csv"))
    if not found:
        return f"corpus {name} is not there yet", remedy
    what = f"corpus {name} is not there with its own labels, only as {', '.join(found)}"
    return what, f"{remedy}; labels are mapped when all are together"


def about(corpora: Mapping[str, About]) -> About:
    """What a model card says of several corpora, by name."""

    def listed(key: str) -> str:
        return " ".join(f"{name}: {getattr(each, key)}" for name, each in corpora.items())

    languages = {each.language for each in corpora.values()}
    labels: dict[str, str] = {}
    for each in corpora.values():
        labels |= each.labels
    return About(
        source="; ".join(each.source for each in corpora.values()),
        language=languages.pop() if len(languages) == 1 else None,
        licence="of-several-corpora",
        facts=listed("facts"),
        terms=listed("terms"),
        labels=labels,
    )


def _named(name: str, table: pd.DataFrame, folder: Path, columns: Collection[str]) -> pd.DataFrame:
    """A corpus's table with its name in the columns that need it; `folder` is its root below the common one."""
    named = {column: table[column].where(table[column] == "", f"{name}_" + table[column]) for column in columns}
    below = DATA_ROOT if folder == Path() else f"{DATA_ROOT}/{folder}"
    return table.assign(**named, corpus=name, wav=below + table["wav"].str.removeprefix(DATA_ROOT))
