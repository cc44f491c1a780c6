"""Stage 0: find and examine the corpus, and write its table of utterances.

    python -m local.prepare OPTIONS

writes `manifests/<corpus>/all.csv` and, beside it, `all.json` on what the corpus is; of one that is
partial also `rejected.csv`: a row for each fault, with file, line, utterance and reason.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace

from local import corpora
from local.core.errors import UserError, as_command
from local.core.files import digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import Corpus, faults, manifest, unsound
from local.data import store
from local.experiment.options import Options, check, parse

REJECTED = "rejected.csv"


def prepare(options: Options) -> None:
    """Examine the corpus anew, every time; write its table unless it stands there already."""
    check(options)
    corpus = examine(options)
    check(options, corpus.table)
    table = corpus.table.sort_values("ID", ignore_index=True)
    path, rejected = options.corpus_folder / "all.csv", options.corpus_folder / REJECTED
    inputs = {"data": str(corpus.root), "partial": options.partial, "utterances": _digest(table)}
    inputs |= {"faults": digest("\n".join(map(str, corpus.faults)))} if corpus.faults else {}
    marker = Marker(options.corpus_folder / "all.json", inputs)
    print(f"== stage 0: corpus {corpus.name}\n  {corpus.source}")
    for fault in corpus.faults:
        print(f"  partial: {fault}")
    counts = ", ".join(f"{label} {count}" for label, count in table["emo"].value_counts().sort_index().items())
    hours = table["duration"].sum() / 3600
    print(f"  {len(table)} utterances ({counts}), {hours:.2f} h, {table['spk_id'].nunique()} speakers")
    if corpus.faults:
        print(f"  {corpus.rejected} utterances rejected, see {rejected}")
    with locked(options.corpus_folder / ".lock", f"makes {path}"):
        if marker.is_done("stage 0", options.force):
            print(f"  {path} is already made of it")
            return
        store.delete_stores(options.corpus_folder)
        manifest.write(path, table)
        if corpus.faults:
            faults.write(rejected, corpus.faults)
        else:
            rejected.unlink(missing_ok=True)
        facts = {"source": corpus.source, "root": str(corpus.root), "rejected": corpus.rejected}
        outputs = [path, *([rejected] if corpus.faults else [])]
        marker.write(outputs, **facts, faults=[str(each) for each in corpus.faults])
    print(f"  wrote {path}")


def examine(options: Options) -> Corpus:
    """Read the corpus, and set aside what an earlier run found unsound when it read all samples.

    Raises
    ------
    UserError
        Anything is missing or broken, unless `options.partial`; or nothing is left.
    """
    corpus = corpora.module(options.module_name).read(options.data, options.partial)
    if os.fsencode(corpus.root).decode(errors="replace") != str(corpus.root):
        raise UserError(f"the name of {str(corpus.root)!r} is not UTF-8", "rename the folder")
    found = unsound.load(options.corpus_folder, corpus.table, corpus.root)
    faults.raise_faults(corpus.name, found, options.partial)
    sound = corpus.table[~corpus.table["ID"].isin([fault.ID for fault in found])]
    if sound.empty:
        raise UserError(f"no utterance of {corpus.name} can be used: {found[0]}", "mend its files")
    return replace(corpus, table=sound, faults=corpus.faults + found, rejected=corpus.rejected + len(found))


def _digest(table) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False)
    return digest(text.getvalue())


@as_command
def main() -> None:
    """Run stage 0."""
    prepare(parse())


if __name__ == "__main__":
    main()
