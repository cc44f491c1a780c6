"""Stage 1: a protocol's folds, each with its training, validation and test set and its tokenizer.

    python -m local.folds OPTIONS

writes `manifests/<corpus>/<protocol>/<fold>/{train,valid,test}.csv` and `tokenizer.model` for every
fold of the protocol, also those that are not chosen, and `leaks.csv` beside them.
"""

from __future__ import annotations

from local.core.errors import as_command
from local.experiment.command_line import parse
from local.experiment.options import Options, check

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from local.core.files import digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import manifest
from local.splits import audit, checks, extra, held_out, naming, protocols
from local.text import tokenizer

CHANGED = "--force true to make the folds again, and all that follows from them"


def make_folds(options: Options) -> None:
    """Write all folds of the protocol, unless they are there already."""
    table = options.table
    check(options, table)
    valid = options.chosen_valid()
    folder = options.folds_folder(valid)
    tokens = {key: options.values[key] for key in ("token_type", "vocab_size")}
    if tokens["token_type"] == "char":
        del tokens["vocab_size"]
    inputs = {"utterances": digest(options.corpus_folder / "all.csv"), "valid": valid}
    inputs["protocol"] = options.chosen_protocol()
    inputs |= {"hold_text": True} if options.hold_text else {}
    inputs |= {"extra": digest(options.extra_file())} if options.extra_training else {}
    marker = Marker(folder / "folds.json", inputs | tokens)
    print(f"== stage 1: folds of protocol {options.protocol_name}")
    with locked(options.corpus_folder / ".lock", f"makes {folder}"):
        if marker.is_done("stage 1", options.force, remedy=CHANGED):
            print(f"  {folder} is already made")
        else:
            write_folds(options, marker, tokens)


def write_folds(options: Options, marker: Marker, tokens: dict[str, Any]) -> None:
    """Write the folds into the folder of a marker, and the marker; `tokens` are for `tokenizer.train`."""
    table, folder, valid = options.table, marker.path.parent, options.chosen_valid()
    whole = extra.join(table, manifest.read(options.extra_file())) if options.extra_training else table
    protocol, keys = options.chosen_protocol(), audit.keys(whole, options.data_root)
    how = protocol, valid, options.hold_text, options.recording_fold()
    of_table = protocols.split_all(table, *how, keys.loc[table.index, "audio"].astype(str))
    splits = extra.split_all(whole, of_table, keys, *how) if options.extra_training else of_table
    leaks = audit.find_leaks(splits, keys, valid)
    audit.refuse(protocol, leaks, options.hold_text, valid)
    used = options.used
    labels = manifest.labels(used)
    checks.refuse_bad_folds(table, of_table, valid, labels)
    tested = {fold: int((sets == "test").sum()) for fold, sets in splits.items()}
    overlap = audit.speaker_overlap(leaks, tested, used["spk_id"])
    print(f"  {naming.describe(options.protocol_name, manifest.filled(used['spk_id']), overlap)}")
    print(f"  validation {options.valid_name}: {naming.describe_valid(valid)}")
    if not options.valid and valid == "none" and (used["recording"] != "").any():
        some = held_out.unknown_recordings(used.set_index("ID")["recording"])
        print(f"  no recordings are held out, as {some}; --valid utterances holds out single ones")
    if (table["wrd"] == "").all():
        print("  no utterance has a transcript: the CTC task is off, and there is no WER")
    for line in protocols.left_out(table, protocol, valid):
        print(f"  left out: {line}")
    if more := extra.count(splits, table) if options.extra_training else {}:
        print(f"  extra training {options.extra_training}: {extra.describe(more)}, of {len(whole) - len(table):,}")
        if strangers := extra.strangers(whole, table):
            print(f"  {strangers:,} train in no fold: their speaker is not known, or has no utterance with an emotion")
    for line in audit.describe(leaks, splits, used, protocols.may_share_validation(protocol, valid)):
        print(f"  {line}")
    audit.write_leaks(folder / "leaks.csv", leaks)
    outputs, sizes, lines = [folder / "leaks.csv"], {}, manifest.lines(whole)
    names = (*checks.SETS, checks.LEFT_OUT) if options.hold_text or protocol == naming.OFFICIAL else checks.SETS
    for fold, sets in splits.items():
        inside = {name: checks.members(sets, name, valid) for name in names}
        outputs += _write_fold(folder / fold, whole, lines, inside, tokens)
        sizes[fold] = {name: int(which.sum()) for name, which in inside.items()}
        print(f"  fold {fold}: " + ", ".join(f"{name} {count}" for name, count in sizes[fold].items()))
        sizes[fold] |= {extra.SIZE: more[fold]} if more else {}
    for other in folder.iterdir():  # folds of an earlier corpus of this name, with --force
        if other.is_dir() and other.name not in sizes:
            shutil.rmtree(other)
    marker.write(outputs, labels=labels, sizes=sizes)
    print(f"  wrote {folder}")


def _write_fold(
    folder: Path, table: pd.DataFrame, lines: np.ndarray, inside: dict[str, pd.Series], tokens: dict[str, Any]
) -> list[Path]:
    """Write one fold's manifests and tokenizer; return their paths. `inside` tells for each set who is in it."""
    paths = {name: folder / f"{name}.csv" for name in checks.SETS}
    for name, path in paths.items():
        if inside[name].any():
            manifest.write_lines(path, manifest.columns_of(table), lines[inside[name]])
        else:
            path.unlink(missing_ok=True)
    model = folder / "tokenizer.model"
    texts = table["wrd"][inside["train"]].tolist()
    if any(texts):
        tokenizer.train(texts, model, *tokens.values())
    else:
        model.unlink(missing_ok=True)
    return [path for path in (*paths.values(), model) if path.exists()]


@as_command
def main() -> None:
    """Run stage 1."""
    make_folds(parse())


if __name__ == "__main__":
    main()
