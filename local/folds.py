"""Stage 1: a protocol's folds, each with its parts and its tokenizer.

    python -m local.folds OPTIONS

writes `manifests/<corpus>/<protocol>/<fold>/{train,valid,test}.csv` and `tokenizer.model` for
every fold of the protocol, whichever of them are run later, and `leaks.csv` beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from local.core.errors import UserError, as_command
from local.core.files import atomic, digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import manifest
from local.experiment.options import Options, check, parse
from local.splits import audit, protocols
from local.text import tokenizer

MOST_LINES = 100_000_000  # in the manifests of all folds: some 15 GB


def make_folds(options: Options) -> None:
    """Write all folds of the protocol, unless they stand there already."""
    table = options.table
    check(options, table)
    valid = options.chosen_valid()
    folder = options.folds_folder(valid)
    values = options.values
    tokens = {key: values[key] for key in ("token_type", "vocab_size")}
    if values["token_type"] == "char":
        del tokens["vocab_size"]
    inputs = {"utterances": digest(options.corpus_folder / "all.csv"), "protocol": options.protocol, "valid": valid}
    inputs |= {"hold_text": True} if options.hold_text else {}
    marker = Marker(folder / "folds.json", inputs | tokens)
    print(f"== stage 1: folds of protocol {options.protocol_name}")
    with locked(options.corpus_folder / ".lock", f"makes {folder}"):
        if marker.is_done("stage 1", options.force):
            print(f"  {folder} is already made")
        else:
            write_folds(options, table, marker, tokens)


def write_folds(options: Options, table: pd.DataFrame, marker: Marker, tokens: dict) -> None:
    """Write the folds that a marker stands for, and the marker."""
    folder, valid = marker.path.parent, options.chosen_valid()
    folds = protocols.test_folds(table, options.protocol, options.recording_fold())
    audit.assert_partition(table, folds)
    refuse_too_many(options.protocol, folds)
    print(f"  {protocols.describe(options.protocol_name)}")
    print(f"  validation {valid}: {protocols.VALID_WORDS[valid]}")
    if (table["wrd"] == "").all():
        print("  no utterance has a transcript: the CTC task is off, and there is no WER")
    parts = {fold: protocols.split(table, folds, fold, valid) for fold in sorted(folds.unique())}
    if options.hold_text:
        parts = {fold: protocols.hold_text(table, part, rank) for rank, (fold, part) in enumerate(parts.items())}
    leaks = find_leaks(options, table, parts)
    audit.refuse(options.protocol, leaks, options.hold_text)
    protocols.refuse_bad_folds(table, parts)
    for line in audit.describe(leaks, parts):
        print(f"  {line}")
    outputs, sizes, lines = [write_leaks(folder / "leaks.csv", leaks)], {}, manifest.lines(table)
    for fold, part in parts.items():
        outputs += _write_fold(folder / fold, table, lines, part, tokens)
        sizes[fold] = {name: int((part == name).sum()) for name in (*audit.PARTS, protocols.LEFT_OUT)}
        if not options.hold_text:
            del sizes[fold][protocols.LEFT_OUT]
        print("  fold " + fold + ": " + ", ".join(f"{name} {count}" for name, count in sizes[fold].items()))
    for stale in folder.iterdir():  # folds of another corpus version, with --force
        if stale.is_dir() and stale.name not in sizes:
            shutil.rmtree(stale)
    marker.write(outputs, labels=manifest.labels(table), sizes=sizes)
    print(f"  wrote {folder}")


def refuse_too_many(protocol: str, folds: pd.Series) -> None:
    """Refuse folds whose manifests, a line in each fold for every utterance, would fill a disk.

    Raises
    ------
    UserError
        There would be more than `MOST_LINES`.
    """
    count = folds.nunique()
    if count * len(folds) > MOST_LINES:
        raise UserError(
            f"protocol {protocol} has {count:,} folds of {len(folds):,} utterances here: "
            f"their manifests would have {count * len(folds):,} lines, more than {MOST_LINES:,}",
            "put the speakers into ten groups by a column session, and take --protocol session",
        )


def find_leaks(options: Options, table: pd.DataFrame, parts: dict[str, pd.Series]) -> pd.DataFrame:
    """What the parts of each fold share; see `local.splits.audit`."""
    keys = audit.keys(table, options.data_root)
    for fold, part in parts.items():
        audit.assert_parts(fold, part)
    return pd.concat([audit.leaks(fold, keys, part) for fold, part in parts.items()], ignore_index=True)


def write_leaks(path: Path, leaks: pd.DataFrame) -> Path:
    """Write leaks.csv; return its path."""
    with atomic(path) as file:
        leaks.to_csv(file, index=False, lineterminator="\n")
    return path


def _write_fold(folder: Path, table: pd.DataFrame, lines: np.ndarray, part: pd.Series, tokens: dict) -> list[Path]:
    """Write one fold's manifests and tokenizer; return their paths."""
    paths = []
    for name in audit.PARTS:
        path = folder / f"{name}.csv"
        if (part == name).any():
            manifest.write_lines(path, lines[part == name])
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    model = folder / "tokenizer.model"
    texts = table["wrd"][part == "train"].tolist()
    if any(texts):
        tokenizer.train(texts, model, *tokens.values())
        paths.append(model)
    else:
        model.unlink(missing_ok=True)
    return paths


@as_command
def main() -> None:
    """Run stage 1."""
    make_folds(parse())


if __name__ == "__main__":
    main()
