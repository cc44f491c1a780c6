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
emo        emotion, one of the corpus's labels
wrd        normalised upper-case transcript, or empty
========== ====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.core.files import atomic

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMNS = ("ID", "duration", "wav", "spk_id", "gender", "session", "recording", "style", "emo", "wrd")
DATA_ROOT = "$data_root"


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table of utterances, sorted by ID, whole or not at all."""
    with atomic(path) as file:
        table.loc[:, list(COLUMNS)].sort_values("ID").to_csv(file, index=False, lineterminator="\n")


def lines(table: pd.DataFrame) -> np.ndarray:
    """[n] the lines that `write` would write for n utterances, in their order: once for many manifests."""
    import numpy as np

    text = table.loc[:, list(COLUMNS)].to_csv(index=False, header=False, lineterminator="\n")
    return np.array(text.split("\n")[:-1], object)


def write_lines(path: Path, some: Iterable[str]) -> None:
    """Write a table of utterances from some of their `lines`, whole or not at all."""
    with atomic(path) as file:
        file.writelines(f"{line}\n" for line in (",".join(COLUMNS), *some))


def read(path: Path) -> pd.DataFrame:
    """Read a table of utterances; a word such as NA or null stays the text that it is.

    A `UserError` if the file is missing, or not a table of utterances.
    """
    try:
        from local.core.typed_csv import read_csv  # pandas takes half a second to load

        table = read_csv(path, numbers=["duration"])
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"it has the columns {','.join(table.columns)}, not {','.join(COLUMNS)}")
        if not table["duration"].between(0, float("inf"), inclusive="neither").all():
            raise ValueError("a duration is not above 0")
    except FileNotFoundError:
        raise UserError(f"there is no manifest {path}", "run the stages before this one: ./run.sh --stage 0") from None
    except ValueError as error:  # of pandas, too, which ends its messages with a newline
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a table of utterances: {reason}", "run --stage 0 --force true") from None
    return table


def filled(column: pd.Series) -> str:
    """For how many utterances a column is filled, of how many: `30/48`."""
    return f"{(column != '').sum()}/{len(column)}"


def labels(table: pd.DataFrame) -> list[str]:
    """List the emotions of a table in the order that every model and table uses: alphabetical."""
    return sorted(table["emo"].unique())


def resolve(wav: pd.Series, data_root: Path) -> pd.Series:
    """Replace the leading `$data_root` of each path, and no other `$`."""
    return str(data_root) + wav.str.removeprefix(DATA_ROOT)
