"""Stage 1: a protocol's folds, each with its parts and its tokenizer.

    python -m local.folds OPTIONS

writes `manifests/<corpus>/<protocol>/<fold>/{train,valid,test}.csv` and `tokenizer.model` for
every fold of the protocol, whichever of them are run later, and `leaks.csv` beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from local import audit, manifest, markers, protocols, tokenizer
from local.errors import UserError, exits
from local.files import atomic, digest
from local.hparams import scalars
from local.markers import Marker
from local.options import Options, check, parse


def make_folds(options: Options) -> None:
    """Write all folds of the protocol, unless they stand there already."""
    table = options.table()
    check(options, table)
    valid = options.chosen_valid()
    folder = options.folds_folder(valid)
    values = scalars(options.hparams, options.overrides)
    tokens = {key: values[key] for key in ("token_type", "vocab_size")}
    if values["token_type"] == "char":
        del tokens["vocab_size"]
    inputs = {"utterances": digest(options.corpus_folder / "all.csv"), "protocol": options.protocol, "valid": valid}
    inputs |= {"hold_text": True} if options.hold_text else {}
    marker = Marker(folder / "folds.json", inputs | tokens)
    print(f"== stage 1: folds of protocol {options.protocol_name}")
    if marker.done("stage 1", options.force):
        print(f"  {folder} is already made")
        return

    folds = protocols.test_folds(table, options.protocol, options.recording_fold())
    audit.assert_partition(table, folds)
    print(f"  {protocols.in_words(options.protocol_name)}")
    print(f"  validation {valid}: {protocols.VALID_WORDS[valid]}")
    if (table["wrd"] == "").all():
        print("  no utterance has a transcript: the CTC task is off, and there is no WER")
    parts = {fold: protocols.split(table, folds, fold, valid) for fold in sorted(folds.unique())}
    if options.hold_text:
        parts = {fold: protocols.hold_text(table, part, rank) for rank, (fold, part) in enumerate(parts.items())}
    leaks = find_leaks(options, table, parts)
    audit.refuse(options.protocol, leaks, options.hold_text)
    for line in audit.in_words(leaks, parts):
        print(f"  {line}")
    outputs, sizes = [write_leaks(folder / "leaks.csv", leaks)], {}
    for fold, part in parts.items():
        outputs += _write_fold(folder / fold, fold, table, part, tokens)
        sizes[fold] = {name: int((part == name).sum()) for name in (*audit.PARTS, protocols.LEFT_OUT)}
        if not options.hold_text:
            del sizes[fold][protocols.LEFT_OUT]
        print("  fold " + fold + ": " + ", ".join(f"{name} {count}" for name, count in sizes[fold].items()))
    for stale in folder.iterdir():  # folds of another corpus version, with --force
        if stale.is_dir() and stale.name not in sizes:
            shutil.rmtree(stale)
    marker.write(outputs, labels=manifest.labels(table), sizes=sizes)
    print(f"  wrote {folder}")


def find_leaks(options: Options, table: pd.DataFrame, parts: dict[str, pd.Series]) -> pd.DataFrame:
    """What the parts of each fold share; see `local.audit`."""
    keys = audit.keys(table, Path(markers.read(options.corpus_folder / "all.json")["facts"]["root"]))
    for fold, part in parts.items():
        audit.assert_parts(fold, part)
    return pd.concat([audit.leaks(fold, keys, part) for fold, part in parts.items()], ignore_index=True)


def write_leaks(path: Path, leaks: pd.DataFrame) -> Path:
    """Write leaks.csv; return its path."""
    with atomic(path) as file:
        leaks.to_csv(file, index=False, lineterminator="\n")
    return path


def _write_fold(folder, fold: str, table: pd.DataFrame, part: pd.Series, tokens: dict) -> list:
    """Write one fold's manifests and tokenizer; return their paths."""
    train = table[part == "train"]
    absent = set(table["emo"]) - set(train["emo"])
    if absent:
        raise UserError(
            f"fold {fold}: no {sorted(absent)[0]} in the training part", "take another protocol, or more data"
        )
    paths = []
    for name in audit.PARTS:
        path = folder / f"{name}.csv"
        if (part == name).any():
            manifest.write(path, table[part == name])
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    model = folder / "tokenizer.model"
    if (train["wrd"] != "").any():
        tokenizer.train(train["wrd"], model, *tokens.values())
        paths.append(model)
    else:
        model.unlink(missing_ok=True)
    return paths


@exits
def main() -> None:
    """Run stage 1."""
    make_folds(parse())


if __name__ == "__main__":
    main()
