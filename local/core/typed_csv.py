"""Reading the CSV tables that this project writes, with the types that they were written with.

pandas guesses types: a fold 007 becomes the number 7, a speaker NA or null a missing value. Here a column is
text, exactly as it is written, unless it is named as one of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# With pyarrow, which a package of somebody's may bring, pandas would keep text in UTF-8: file names need not be that.
pd.options.mode.string_storage = "python"


def frame(rows: Iterable[Any], columns: Iterable[str]) -> pd.DataFrame:
    """A table of rows, mappings or sequences, with these columns."""
    return pd.DataFrame(rows, columns=list(columns))


def read_csv(path: Path, numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV with a header: text as it is written, and columns of numbers, those of them that the file has.

    In a column of numbers an empty cell is NaN; one of whole numbers alone has integers, any other floats, each
    to its last digit. Errors are those of pandas, and a `ValueError` for a cell that is no number.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False)
    return table.assign(**{name: _numbers(table[name]) for name in numbers if name in table})


def read_numbers(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV whose columns are numbers, but for those of `text`; see `read_csv`."""
    table = read_csv(path)
    return table.assign(**{name: _numbers(table[name]) for name in table if name not in text})


def _numbers(column: pd.Series) -> pd.Series:
    words = column.to_numpy(object)  # pandas takes seven times as long for tables of a few rows, as most are
    if "_" in "".join(words):  # Python takes 1_0 for 10
        raise ValueError(f"{next(word for word in words if '_' in word)!r} is no number")
    try:
        return pd.Series(words.astype("int64"), column.index)
    except (ValueError, OverflowError):  # of a whole number beyond 64 bits
        return pd.Series(np.where(words == "", "nan", words).astype("float64"), column.index)
