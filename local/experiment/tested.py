"""The test sets of a protocol, as stage 1 wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.core import markers
from local.core.errors import UserError
from local.core.files import digest
from local.corpora import manifest
from local.experiment.options import Options
from local.splits import naming, protocols

if TYPE_CHECKING:
    import pandas as pd


def tested_sets(options: Options) -> dict[str, pd.DataFrame]:
    """The test set of every fold of the protocol, whichever validation its folds were made with: they test the same.

    A `UserError` if there are none, or they are of an earlier table of utterances.
    """
    made = digest(options.corpus_folder / "all.csv")
    remedy = f"./run.sh --corpus {options.corpus} --protocol {options.chosen_protocol()}"
    remedy += " --hold-text true" * options.hold_text + " --stop-stage 1, with --data as for stage 0"
    for valid in dict.fromkeys([options.chosen_valid(), *naming.VALID_WORDS]):
        folder = options.folds_folder(valid)
        if valid == protocols.ORACLE or not (folder / "folds.json").exists():
            continue
        marker = markers.read(folder / "folds.json")
        if marker["inputs"].get("utterances") != made:
            raise UserError(f"{folder} was made of another table than {options.corpus_folder / 'all.csv'}", remedy)
        return {fold: manifest.read(folder / fold / "test.csv") for fold in sorted(marker["facts"]["sizes"])}
    raise UserError(f"the folds of protocol {options.protocol_name} are not made", remedy)
