"""Leak audit: what the parts of each fold share, what they must not share, and saying so on every table.

`leaks.csv` has a row for each fold, pair of parts and kind of key that the two share:

===========  =====================================================================================
fold         of the protocol
parts        `train-test`, `valid-test` or `train-valid`
kind         utterance (ID), audio (bytes of the file), speaker, recording, session, transcript
count        utterances of the second part whose key stands in the first
share        count / utterances of the second part
examples     up to three of the shared keys
===========  =====================================================================================
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from local.core.errors import UserError
from local.corpora import manifest
from local.splits import protocols

PARTS = ("train", "valid", "test")
PAIRS = (("train", "test"), ("valid", "test"), ("train", "valid"))
LEAK_COLUMNS = ("fold", "parts", "kind", "count", "share", "examples")
EXAMPLES = 3
MOST_LINES = 20
CHUNK = 256  # files that a thread reads at a time
AMID = 4096  # bytes in the middle of a file, far from headers and the quiet at its ends, that tell most files apart
REMEDY = "mend the corpus or its columns, or take another --protocol; such folds are never run"

# What each protocol promises that a tested utterance shares with no other part.
PROMISES = {
    "recording": ("utterance", "audio", "recording"),
    "speaker": ("utterance", "audio", "speaker"),
    "session": ("utterance", "audio", "session", "speaker"),
}
# What no two parts may share, validation and training included.
NEVER = ("utterance", "audio")


def assert_partition(table: pd.DataFrame, folds: pd.Series) -> None:
    """Every utterance stands once in the corpus and is tested in exactly one fold.

    Raises
    ------
    UserError
        The first utterance for which this does not hold.
    """
    doubled = table["ID"].duplicated()
    if doubled.any():
        raise UserError(f"utterance {table['ID'][doubled].iloc[0]} stands twice in the corpus", REMEDY)
    homeless = folds.isna() | (folds == "")
    if homeless.any():
        raise UserError(f"utterance {table['ID'][homeless].iloc[0]} is tested in no fold", REMEDY)


def assert_parts(fold: str, part: pd.Series) -> None:
    """A fold's parts cover the corpus, and there is something to train on and to test.

    Raises
    ------
    UserError
        A part is empty or has a name that is not known.
    """
    if not part.isin((*PARTS, protocols.LEFT_OUT)).all():
        raise UserError(f"fold {fold}: an utterance is in no part", REMEDY)
    for name in ("train", "test"):
        if not (part == name).any():
            raise UserError(f"fold {fold}: part {name} is empty", REMEDY)


def keys(table: pd.DataFrame, data_root: Path) -> pd.DataFrame:
    """What utterances can share, one column per kind; an empty key is shared by nobody.

    Raises
    ------
    UserError
        An audio file cannot be read.
    """
    columns = {
        "utterance": table["ID"],
        "audio": _equal_files(manifest.resolve(table["wav"], data_root)),
        "speaker": table["spk_id"],
        "recording": table["recording"],
        "session": table["session"],
        "transcript": table["wrd"],
    }
    # Compared as numbers, fold after fold; millions of keys would be long to sort.
    numbers = {kind: pd.Categorical.from_codes(*pd.factorize(column)) for kind, column in columns.items()}
    return pd.DataFrame(numbers, table.index)


def _equal_files(paths: pd.Series) -> pd.Series:
    """The digest of each file whose bytes are those of another; of all others the empty key.

    Only files of one size are opened, and only those that also agree amid are read whole.
    """
    known = pd.DataFrame({"size": _of_each(os.path.getsize, paths), "digest": ""}, paths.index)
    for read, least in ((_amid, 0), (_whole, AMID)):
        alike = known.duplicated(keep=False) & (known["size"] >= least)
        known.loc[alike, "digest"] = _of_each(read, paths[alike])
    return known["digest"].where(known.duplicated(keep=False), "")


def _of_each(read: Callable[[str], int | str], paths: pd.Series) -> list[int | str]:
    """Call a function that looks at a file on every path."""

    def chunk(start: int) -> list[int | str]:
        return [_tried(read, path) for path in listed[start : start + CHUNK]]

    listed = paths.tolist()
    with ThreadPoolExecutor() as threads:  # who waits for a disk leaves the interpreter's lock alone
        return [found for some in threads.map(chunk, range(0, len(listed), CHUNK)) for found in some]


def _tried(read: Callable[[str], int | str], path: str) -> int | str:
    try:
        return read(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "run stage 0 again: the corpus has changed since") from None


def _amid(path: str) -> str:
    """The digest of `AMID` bytes in the middle of a file, or of all that it has."""
    file = os.open(path, os.O_RDONLY)
    try:
        return _digest(os.pread(file, AMID, max(0, os.fstat(file).st_size - AMID) // 2))
    finally:
        os.close(file)


def _whole(path: str) -> str:
    return _digest(Path(path).read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def leaks(fold: str, shared_keys: pd.DataFrame, part: pd.Series) -> pd.DataFrame:
    """Find what the parts of a fold share: rows of `LEAK_COLUMNS`.

    Parameters
    ----------
    fold
        Its name.
    shared_keys
        As from `keys`: categories.
    part
        The part of each utterance.
    """
    inside = {name: (part == name).to_numpy() for name in PARTS}
    rows = []
    for kind in shared_keys:
        categories = shared_keys[kind].cat.categories
        codes = shared_keys[kind].cat.codes.to_numpy()
        known = (categories != "")[codes]
        for first, second in PAIRS:
            of_first = np.zeros(len(categories), bool)
            of_first[codes[inside[first]]] = True
            crossing = codes[inside[second] & known & of_first[codes]]
            if len(crossing):
                examples = " | ".join(sorted(categories[np.unique(crossing)])[:EXAMPLES])
                rows.append(
                    (fold, f"{first}-{second}", kind, len(crossing), len(crossing) / inside[second].sum(), examples)
                )
    return pd.DataFrame(rows, columns=LEAK_COLUMNS)


def read_leaks(path: Path) -> pd.DataFrame:
    """Read leaks.csv.

    Raises
    ------
    UserError
        It is not there.
    """
    try:
        return pd.read_csv(path, dtype={"fold": str}, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"there is no audit {path}", "remove the folder and run stage 1 again") from None


def refuse(protocol: str, found: pd.DataFrame, text_held: bool = False) -> None:
    """Stop the run where parts share what they must not.

    Raises
    ------
    UserError
        Every forbidden row of the leaks, named.
    """
    promises = (*PROMISES[protocol], "transcript") if text_held else PROMISES[protocol]
    promised = found["kind"].isin(promises) & found["parts"].str.endswith("-test")
    forbidden = found[promised | found["kind"].isin(NEVER)]
    if len(forbidden):
        lines = [
            f"  fold {row.fold}: {row.count} utterances share their {row.kind} across {row.parts}: {row.examples}"
            for row in forbidden.itertuples(index=False)
        ]
        more = [f"  ... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        raise UserError("\n".join([f"protocol {protocol} is broken:", *lines[:MOST_LINES], *more]), REMEDY)


def describe(found: pd.DataFrame, folds: Iterable[str]) -> list[str]:
    """Say, for RESULTS.md, what the test parts of these folds share with the rest: a line per kind."""
    folds = list(folds)
    lines = []
    for kind in ("speaker", "recording", "session", "transcript"):
        rows = found[(found["kind"] == kind) & (found["parts"] == "train-test") & found["fold"].isin(folds)]
        if rows.empty:
            continue
        low, high = rows["share"].min(), rows["share"].max()
        span = f"{100 * low:.0f} %" if round(low, 2) == round(high, 2) else f"{100 * low:.0f} to {100 * high:.0f} %"
        where = "every fold" if len(rows) == len(folds) else f"{len(rows)} of {len(folds)} folds"
        lines.append(f"in {where}, {span} of the tested utterances share their {kind} with training")
    return lines or ["no tested utterance shares speaker, recording, session or transcript with training"]
