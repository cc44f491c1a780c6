"""Leak audit: what the sets of each fold share, what they must not share, and a summary for RESULTS.md.

`leaks.csv` has a row for each fold, pair of sets and kind of key that the two share:

===========  =====================================================================================
fold         of the protocol
parts        the two sets: `train-test`, `valid-test` or `train-valid`
kind         utterance (ID), audio (bytes of the file), speaker, recording, session, transcript
count        utterances of the second set whose key is also in the first
share        count / utterances of the second set
examples     up to three of the shared keys; of audio the IDs of an utterance of each set, `a = b`
===========  =====================================================================================

With validation `oracle` the validation set is the test set, so that `valid-test` shares all, as is meant; what training
and test set share is found and refused as with any other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from local.core.errors import UserError
from local.core.files import write_text
from local.core.typed_csv import read_csv
from local.corpora import manifest
from local.splits import naming
from local.splits.checks import ORACLE, SETS, members

PAIRS = (("train", "test"), ("valid", "test"), ("train", "valid"))
LEAK_COLUMNS = ("fold", "parts", "kind", "count", "share", "examples")
EXAMPLES = 3
MOST_LINES = 20
CHUNK = 256  # files that a thread reads at a time
MIDDLE = 4096  # bytes in the middle of a file, far from headers and silence, in which most files differ

# What the test set must not share with the other sets, by protocol; and what no two sets may share.
PROMISES = {"recording": ("recording",), "speaker": ("speaker",), "session": ("session", "speaker"), "random": ()}
PROMISES |= {"official": (), "corpus": ("speaker",)}
NEVER = ("utterance", "audio")
DESCRIBED = {"speaker": "spk_id", "recording": "recording", "session": "session", "transcript": "wrd"}  # and columns


def keys(table: pd.DataFrame, data_root: Path) -> pd.DataFrame:
    """What utterances can share, one categorical column per kind; an empty key is never shared.

    A `UserError` if an audio file cannot be read.
    """
    columns = {
        "utterance": table["ID"],
        "audio": _equal_files(manifest.resolve(table["wav"], data_root)),
        "speaker": table["spk_id"],
        "recording": table["recording"],
        "session": table["session"],
        "transcript": table["wrd"],
    }
    # Compared as numbers, fold after fold: sorting millions of strings would be slow.
    numbers = {kind: pd.Categorical.from_codes(*pd.factorize(column)) for kind, column in columns.items()}
    return pd.DataFrame(numbers, table.index)


def _equal_files(paths: pd.Series) -> pd.Series:
    """The digest of each file that has the same bytes as another; an empty string for all others.

    Only files of equal size are opened, and only those with an equal middle are read whole.
    """
    known = pd.DataFrame({"size": _map_files(os.path.getsize, paths), "digest": ""}, paths.index)
    for read, least in ((_digest_middle, 0), (_digest_whole, MIDDLE)):
        alike = known.duplicated(keep=False) & (known["size"] >= least)
        known.loc[alike, "digest"] = _map_files(read, paths[alike])
    return known["digest"].where(known.duplicated(keep=False), "")


def _map_files(function: Callable[[str], int | str], paths: pd.Series) -> list[int | str]:
    """Call a function on every path, in threads, and name the first file that it cannot read."""

    def apply(start: int) -> list[int | str]:
        results = []
        try:
            for path in listed[start : start + CHUNK]:
                results.append(function(path))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}", "run stage 0 again: the corpus has changed since") from None
        return results

    listed = paths.tolist()
    with ThreadPoolExecutor() as threads:
        return [result for results in threads.map(apply, range(0, len(listed), CHUNK)) for result in results]


def _digest_middle(path: str) -> str:
    """The digest of the `MIDDLE` bytes in the middle of a file, or of all its bytes if it has fewer."""
    with open(path, "rb", buffering=0) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - MIDDLE) // 2)
        return _digest(file.read(MIDDLE))


def _digest_whole(path: str) -> str:
    return _digest(Path(path).read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def find_leaks(splits: Mapping[str, pd.Series], shared_keys: pd.DataFrame, valid: str = "") -> pd.DataFrame:
    """Find what the sets of each fold share: rows of `LEAK_COLUMNS`; `splits` has the set of each utterance by fold."""
    return pd.concat([leaks(fold, shared_keys, sets, valid) for fold, sets in splits.items()], ignore_index=True)


def leaks(fold: str, shared_keys: pd.DataFrame, sets: pd.Series, valid: str = "") -> pd.DataFrame:
    """Find what the sets of one fold share; `shared_keys` are as from `keys`, `valid` is the validation."""
    inside = {name: members(sets, name, valid).to_numpy() for name in SETS}
    rows = []
    for kind in shared_keys:
        categories = shared_keys[kind].cat.categories
        codes = shared_keys[kind].cat.codes.to_numpy()
        known = (categories != "")[codes]
        for first, second in PAIRS:
            in_first = np.zeros(len(categories), bool)
            in_first[codes[inside[first]]] = True
            shared = codes[inside[second] & known & in_first[codes]]
            if len(shared):
                named = sorted(categories[np.unique(shared)])[:EXAMPLES]
                if kind == "audio":  # a digest does not tell which files these are
                    named = [_same_audio(shared_keys, key, inside[first], inside[second]) for key in named]
                examples = " | ".join(named)
                share = len(shared) / inside[second].sum()
                rows.append((fold, f"{first}-{second}", kind, len(shared), share, examples))
    return pd.DataFrame(rows, columns=LEAK_COLUMNS)


def _same_audio(shared_keys: pd.DataFrame, audio: str, *sets: np.ndarray) -> str:
    """The first utterance in each of these sets that has this audio."""
    has_it = (shared_keys["audio"] == audio).to_numpy()
    return " = ".join(min(map(str, shared_keys.loc[has_it & inside, "utterance"])) for inside in sets)


def _share(count: int) -> str:
    return "1 utterance shares its" if count == 1 else f"{count} utterances share their"


def write_leaks(path: Path, found: pd.DataFrame) -> None:
    """Write leaks.csv, whole or not at all."""
    write_text(path, found.to_csv(index=False, lineterminator="\n"))


def read_leaks(path: Path) -> pd.DataFrame:
    """Read leaks.csv; a `UserError` if it is missing."""
    try:
        return read_csv(path, numbers=["count", "share"])
    except FileNotFoundError:
        raise UserError(f"the leak audit {path} is missing", "remove its folder and run stage 1 again") from None


def refuse(protocol: str, found: pd.DataFrame, text_held: bool = False, valid: str = "", tested: str = "") -> None:
    """Refuse folds whose sets share what they must not, by a `UserError` that names the forbidden rows of the leaks.

    `tested` is the corpus of the test sets, where it is not that of the folds.
    """
    if valid == ORACLE:  # the validation set is the test set: what training shares with one it shares with the other
        found = found[found["parts"] == "train-test"]
    promises = (*PROMISES[protocol], "transcript") if text_held else PROMISES[protocol]
    promised = found["kind"].isin(promises) & found["parts"].str.endswith("-test")
    forbidden = found[promised | found["kind"].isin(NEVER)]
    if len(forbidden):
        lines = [
            f"  fold {row.fold}: {_share(row.count)} {row.kind} across {row.parts}: {row.examples}"
            for row in forbidden.itertuples(index=False)
        ]
        more = [f"  ... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        where, remedy = f"protocol {protocol}", "correct the corpus or its columns, or take another --protocol"
        if tested:
            where, remedy = f"--test-corpus {tested}", "leave these utterances out of it, or test on another corpus"
        heading = f"{where}: sets of a fold share what they must not:"
        raise UserError("\n".join([heading, *lines[:MOST_LINES], *more]), remedy)


def describe(
    found: pd.DataFrame,
    folds: Iterable[str],
    table: pd.DataFrame,
    validation: bool = False,
    trained: pd.DataFrame | None = None,
) -> list[str]:
    """Say, for RESULTS.md, what the test sets of these folds share with the training sets: a line per kind.

    Of a kind for which the corpus, `table`, has no value nothing is claimed; of one that is known for some utterances
    only, a share is the least that it can be. With `validation`, there is a line too for what they share with the
    validation sets: the owners of a corpus may have divided it in any way. `trained` is the table of the corpus that
    trains, where that is another: then names are compared, but of transcripts.
    """
    tables = [table] if trained is None else [table, trained]
    folds, shared, unshared, partly, unknown = list(folds), [], [], [], []
    for kind, column in DESCRIBED.items():
        known, of = manifest.filled(pd.concat([each[column] for each in tables])).split("/")
        some = "" if known == of else f" (the {kind} is known for {known} of {of} utterances)"
        in_folds = found[(found["kind"] == kind) & found["fold"].isin(folds)]
        rows = in_folds[in_folds["parts"] == "train-test"]
        said = kind if trained is None or kind == "transcript" else f"{kind}'s name"
        if any((each[column] == "").all() for each in tables):
            unknown.append(kind)
        elif len(rows):
            shared.append(_say_shared(rows, folds, said, "training", some))
        elif some:
            partly.append(f"no tested utterance is known to share its {said} with the training set{some}")
        else:
            unshared.append(said)
        if validation and len(rows := in_folds[in_folds["parts"] == "valid-test"]):
            shared.append(_say_shared(rows, folds, said, "validation", some))
    lines = shared + partly
    if unshared and (validation or not shared):
        lines.append(f"no tested utterance shares its {_either(unshared)} with the training set")
    if unknown:
        lines.append(f"whether the training set shares a {_either(unknown)} with the test set is unknown")
    return lines


def _say_shared(rows: pd.DataFrame, folds: list[str], kind: str, other: str, some: str) -> str:
    """The line on a kind that test sets share with the sets of a name; `rows` are those of its leaks."""
    least, most = (naming.per_cent(share) for share in (rows["share"].min(), rows["share"].max()))
    span = f"at least {least} %" if some else f"{least} %" if least == most else f"{least} to {most} %"
    where = "every fold" if len(rows) == len(folds) else f"{len(rows)} of {len(folds)} folds"
    return f"in {where}, {span} of the tested utterances share their {kind} with the {other} set{some}"


def _either(words: list[str]) -> str:
    """Join words: `speaker, recording or session`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def speaker_overlap(found: pd.DataFrame, tested: Mapping[str, int], speakers: pd.Series) -> float:
    """The share of the tested utterances whose speaker is in the training set; nan unless all `speakers` are known.

    `tested` has the number of tested utterances by fold, `speakers` are those of the corpus.
    """
    if (speakers == "").any():
        return float("nan")
    rows = found[(found["kind"] == "speaker") & (found["parts"] == "train-test")]
    shares = dict(zip(rows["fold"], rows["share"], strict=True))
    return float(sum(shares.get(fold, 0) * n for fold, n in tested.items()) / sum(tested.values()))
