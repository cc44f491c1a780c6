"""Tables of utterances: the one form in which every corpus enters the pipeline.

A table is a pandas DataFrame whose columns are all text but `duration`; on disk it is a CSV in
SpeechBrain's column style, sorted by ID.

========== ====================================================================
ID         name of the utterance, unique in the corpus
duration   seconds
wav        path of the audio file, beginning with `$data_root`
spk_id     the person who speaks, or empty
gender     `F`, `M` or empty
session    recording session, or empty
recording  the recording (dialogue) that the utterance was cut from, or empty
style      `impro`, `script` or empty
emo        emotion, one of the corpus's labels; empty in training sets of `--extra-training`
wrd        normalised upper-case transcript, or empty
========== ====================================================================

Behind these stand the further columns that the corpus has, in this order:

========== ====================================================================
label      the corpus's own label, where a map of labels made `emo` of it
corpus     the corpus that the utterance is from, in a table of several
split      official list that it is in: `train`, `valid`, or `test`, `test1`, ...
votes      how many raters chose each label, or several: `ang 3 neu 2`
valence    mean of the raters, on the corpus's own scale; so are the next two
arousal
dominance
ratings    what each rater gave in these: `E1.valence 3 E1.arousal 2 E2.valence 4`
========== ====================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.core.files import atomic, digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMNS = ("ID", "duration", "wav", "spk_id", "gender", "session", "recording", "style", "emo", "wrd")
NUMBERS = ("valence", "arousal", "dominance")
RATED = ("votes", *NUMBERS, "ratings")  # what raters say
UNREAD = (RATED[-1:], RATED)  # of these, what earlier versions did not read of corpora that have it: the last first
FURTHER = ("label", "corpus", "split", *RATED)
DATA_ROOT = "$data_root"


def columns_of(table: pd.DataFrame) -> list[str]:
    """The columns with which a table of utterances is written: all of `COLUMNS`, and of `FURTHER` those with values."""
    return [*COLUMNS, *(name for name in FURTHER if name in table and (table[name] != "").any())]


def column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column of a table of utterances; one of `FURTHER` that it lacks is empty."""
    import pandas as pd  # takes half a second to load

    return table[name] if name in table else pd.Series("", table.index, str)


def concat(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of utterances below each other, numbered from 0; a column that one lacks is empty there."""
    import pandas as pd  # takes half a second to load

    return pd.concat(tables, ignore_index=True).fillna("")


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table of utterances, sorted by ID, whole or not at all."""
    with atomic(path) as file:
        table.loc[:, columns_of(table)].sort_values("ID").to_csv(file, index=False, lineterminator="\n")


def lines(table: pd.DataFrame) -> np.ndarray:
    """[n] the lines that `write` would write for n utterances, in their order: once for many manifests."""
    import numpy as np

    text = table.loc[:, columns_of(table)].to_csv(index=False, header=False, lineterminator="\n")
    return np.array(text.split("\n")[:-1], object)


def write_lines(path: Path, columns: Iterable[str], some: Iterable[str]) -> None:
    """Write a table of utterances from its `columns_of` and some of its `lines`, whole or not at all."""
    with atomic(path) as file:
        file.writelines(f"{line}\n" for line in (",".join(columns), *some))


def read(path: Path) -> pd.DataFrame:
    """Read a table of utterances; a word such as NA or null stays the text that it is.

    A `UserError` if the file is missing, or not a table of utterances.
    """
    try:
        from local.core.typed_csv import read_csv  # pandas takes half a second to load

        table = read_csv(path, numbers=["duration"])
        if list(table.columns) != [*COLUMNS, *(name for name in FURTHER if name in table)]:
            raise ValueError(f"it has the columns {','.join(table.columns)}, not {','.join(COLUMNS)}")
        if not table["duration"].between(0, float("inf"), inclusive="neither").all():
            raise ValueError("a duration is not above 0")
    except FileNotFoundError:
        remedy = "run stages 0 and 1 with its --corpus and --data; results that were copied need their manifests, too"
        raise UserError(f"there is no manifest {path}", remedy) from None
    except ValueError as error:  # of pandas, too, which ends its messages with a newline
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a table of utterances: {reason}", "run --stage 0 --force true") from None
    return table


def is_same(path: Path, known: str | None) -> bool:
    """Whether a table is that of a digest, or differs from it by columns of `UNREAD` alone.

    What was made from a table of an earlier version is not outdated by these.
    """
    if known is None or not path.exists():
        return False
    return known == digest(path) or any(known == _digest_without(path, columns) for columns in UNREAD)


def _digest_without(path: Path, names: Container[str]) -> str:
    """The digest of a table's file as it would be without some columns; empty where it has none of them."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        kept = [place for place, name in enumerate(header) if name not in names]
        if len(kept) == len(header):
            return ""
        text = io.StringIO(newline="")
        narrow = ([row[place] for place in kept if place < len(row)] for row in (header, *rows))
        csv.writer(text, lineterminator="\n").writerows(narrow)
    return digest(text.getvalue().encode(errors="surrogateescape"))


def filled(column: pd.Series) -> str:
    """For how many utterances a column is filled, of how many: `30/48`."""
    return f"{(column != '').sum()}/{len(column)}"


def labels(table: pd.DataFrame) -> list[str]:
    """List the emotions of a table in the order that every model and table uses: alphabetical."""
    return sorted(table["emo"].unique())


def resolve(wav: pd.Series, data_root: Path) -> pd.Series:
    """Replace the leading `$data_root` of each path, and no other `$`."""
    return str(data_root).rstrip("/") + wav.str.removeprefix(DATA_ROOT)
