"""Stage 0: find and examine the corpus, and write its table of utterances.

    python -m local.prepare OPTIONS

writes `manifests/<corpus>/all.csv` and, beside it, `all.json` on what the corpus is; of one that is
partial also `rejected.csv`: a row for each fault, with file, line, utterance and reason.
"""

from __future__ import annotations

from local.core.counted import counted
from local.core.errors import UserError, as_command
from local.experiment.command_line import parse
from local.experiment.options import MANIFESTS, Options, check

if __name__ == "__main__":
    as_command(lambda: check(parse()))()  # --help and wrong options end here, before what takes seconds to load

from pathlib import Path

import pandas as pd

from local import corpora
from local.core import markers
from local.core.files import digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import faults, label_map, manifest, several, unsound
from local.corpora.columns import option
from local.data import store
from local.splits import naming, official, protocols

CHANGED = "--force true to make it again, and all that follows from it"
OWN_TABLE = "; or give the table another file name: that is another corpus"


def prepare(options: Options) -> None:
    """Examine the corpus, every time; write its table unless the same one is there already."""
    check(options)
    folder = options.corpus_folder
    corpus = unsound.leave_out(read(options), folder, options.partial)
    if options.extra_training:  # whose audio is kept by itself
        corpus = unsound.leave_out(corpus, options.extra_folder, options.partial)
    corpus = map_labels(options, corpus)
    check(options, corpus.table)
    default = "" if options.protocol else options.default_protocol(corpus.table)
    if default == naming.RANDOM:
        refuse_other_names(corpus, options.columns)
    table = corpus.table.sort_values("ID", ignore_index=True)
    table, unrated = as_made(folder / "all.json", table, options.force)
    path, rejected = folder / "all.csv", folder / "rejected.csv"
    inputs = {"data": str(corpus.root), "partial": options.partial, "utterances": digest(table.to_csv(index=False))}
    inputs |= {"columns": options.columns} if options.columns else {}
    inputs |= {"labels": corpus.labels} if corpus.labels else {}
    inputs |= {"faults": digest("\n".join(map(str, corpus.faults)))} if corpus.faults else {}
    marker = Marker(folder / "all.json", inputs)
    say(corpus, unrated)
    counts = ", ".join(f"{label} {count}" for label, count in table["emo"].value_counts().sort_index().items())
    hours = table["duration"].sum() / 3600
    print(f"  {counted(len(table), 'utterance')} ({counts}), {hours:.2f} h, {speakers(table)}")
    if list_sizes := official.sizes(table):
        print(f"  official lists: {list_sizes}")
    if default not in ("", naming.DEFAULT):
        unnamed = default == protocols.default_protocol(table)
        why = "no utterance has a speaker (spk_id), session or recording, so " if unnamed else ""
        print(f"  {why}the protocol is {default}")
    if default == naming.RANDOM:
        print(f"  {naming.OPTIMISTIC_WORDS}")
    if corpus.faults:
        print(f"  {counted(corpus.rejected, 'utterance')} rejected, see {rejected}")
    with locked(folder / ".lock", f"makes {path}"):
        remedy = CHANGED + (OWN_TABLE if options.module_name in corpora.OWN else "")
        if marker.is_done("stage 0", options.force, remedy=remedy):
            print(f"  {path} is already made")
            write_extra(options, corpus, table)
            return
        store.delete_stores(folder)
        manifest.write(path, table)
        if corpus.faults:
            faults.write(rejected, corpus.faults)
        else:
            rejected.unlink(missing_ok=True)
        facts = {"source": corpus.source, "root": str(corpus.root), "rejected": corpus.rejected}
        outputs = [path, rejected] if corpus.faults else [path]
        facts |= {"warnings": corpus.warnings, "notes": corpus.notes}
        facts |= {"labels": corpus.labels} if corpus.labels else {}
        marker.write(outputs, **facts, faults=[str(fault) for fault in corpus.faults])
        print(f"  wrote {path}")
        write_extra(options, corpus, table)


def say(corpus: corpora.Corpus, *more: str) -> None:
    """Print what the corpus is, and what is to be known of it; `more` notes may be empty."""
    print(f"== stage 0: corpus {corpus.name}\n  {corpus.source}")
    for fault in corpus.faults:
        print(f"  partial: {fault}")
    for warning in corpus.warnings:
        print(f"  warning: {warning}")
    for note in filter(None, (*corpus.notes, *more)):
        print(f"  note: {note}")
    if corpus.labels:
        print(f"  labels: {corpus.labels}")


def as_made(marker: Path, table: pd.DataFrame, force: bool) -> tuple[pd.DataFrame, str]:
    """The table without what raters say, where it was made so by an earlier version; and what to know of that."""
    if force or not marker.exists():
        return table, ""
    made = markers.read(marker)["inputs"].get("utterances")
    for columns in manifest.UNREAD:
        given = [name for name in columns if name in table]
        bare = table.drop(columns=given)
        if given and made == digest(bare.to_csv(index=False)):
            return bare, (
                f"the table was made without {', '.join(given)}, which earlier versions did not read; to have them: "
                "--stop-stage 1 --force true, after which runs that are there need not be trained again"
            )
    return table, ""


def write_extra(options: Options, corpus: corpora.Corpus, table: pd.DataFrame) -> None:
    """Write the utterances of `--extra-training`, unless they are there.

    They have the columns of the corpus's own table, and what raters say of them.

    A `UserError` where the corpus has none, or some are unsound.
    """
    if not (word := options.extra_training):
        return
    if corpus.extra is None or corpus.extra.empty:
        raise UserError(
            f"--extra-training {word}: corpus {corpus.name} has no utterances but those with one of its emotions",
            "leave it out; iemocap has others, a table may have rows with an empty emo, and a map of labels may leave "
            "some out",
        )
    folder = options.extra_folder
    known = [fault for place in (folder, folder.parent) for fault in unsound.load(place, corpus.extra, corpus.root)]
    faults.raise_faults(corpus.name, known, options.partial)
    sound = corpus.extra[~corpus.extra["ID"].isin([fault.ID for fault in known])]
    # Ratings that the corpus's own utterances lack, too; but not those that an earlier version left out of its table.
    own, of_extra = manifest.columns_of(corpus.table), manifest.columns_of(corpus.extra)
    more = [name for name in manifest.RATED if name in of_extra and name not in own]
    sound = sound[[*manifest.columns_of(table), *more]].sort_values("ID", ignore_index=True)
    marker = Marker(folder / "extra.json", {"data": str(corpus.root), "utterances": digest(sound.to_csv(index=False))})
    hours = sound["duration"].sum() / 3600
    print(f"  extra training {word}: {counted(len(sound), 'utterance')} without one of the emotions, {hours:.2f} h")
    if not marker.is_done("stage 0", options.force, remedy=CHANGED):
        manifest.write(folder / "extra.csv", sound)
        marker.write([folder / "extra.csv"])


def read(options: Options) -> corpora.Corpus:
    """Examine the corpus, or join several that stage 0 has made."""
    if len(names := corpora.parts(options.corpus)) == 1:
        audio = (MANIFESTS / names[0] / "audio").absolute()  # of a table that has it as bytes; one, whatever the labels
        if options.data is None and options.module_name in corpora.OWN:
            what = f"corpus {options.corpus} is of your own data, and stage 0 looks at it again"
            raise UserError(
                what, "give --corpus csv --data TABLE as the first time, or --stage 1 to take what is there"
            )
        unlabelled = bool(options.extra_training)
        return corpora.read(options.module_name, options.data, options.partial, options.columns, audio, unlabelled)
    return several.join({name: MANIFESTS / name for name in names})


def map_labels(options: Options, corpus: corpora.Corpus) -> corpora.Corpus:
    """Give the corpus the labels of its map, if it has one."""
    _, _, name = options.corpus.partition(corpora.MAPPED)
    if not name:
        return corpus
    path = options.labels or label_map.locate(name, MANIFESTS)
    return label_map.LabelMap.read(path).apply(corpus)


def refuse_other_names(corpus: corpora.Corpus, given: dict[str, str]) -> None:
    """Raise a UserError where a column of another name probably has the speakers, which `random` would ignore."""
    for name, here in corpus.renamed.items():
        if here in protocols.COLUMN.values():
            raise UserError(
                f"corpus {corpus.name}: column {name!r} is not used, and no utterance has a {here}",
                f"{option({**given, here: name})}; or take --protocol random, which is optimistic: it ignores who "
                "speaks",
            )


def speakers(table: pd.DataFrame) -> str:
    """How many speakers a table of utterances names, and of how many utterances, if not of all."""
    known = table["spk_id"][table["spk_id"] != ""]
    if known.empty:
        return "speakers unknown"
    count = f"{counted(known.nunique(), 'speaker')}"
    return count if len(known) == len(table) else f"{count}, known for {len(known)} of {len(table)} utterances"


@as_command
def main() -> None:
    """Run stage 0."""
    prepare(parse())


if __name__ == "__main__":
    main()
