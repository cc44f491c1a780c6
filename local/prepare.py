"""Stage 0: find and examine the corpus, and write its table of utterances.

    python -m local.prepare OPTIONS

writes `manifests/<corpus>/all.csv` and, beside it, `all.json` on what the corpus is.
"""

from __future__ import annotations

import io

from local import corpora, manifest, store
from local.errors import exits
from local.files import digest
from local.markers import Marker
from local.options import Options, check, parse


def prepare(options: Options) -> None:
    """Examine the corpus anew, every time; write its table unless it stands there already."""
    check(options)
    corpus = corpora.module(options.module_name).read(options.data, options.partial)
    check(options, corpus.table)
    table = corpus.table.sort_values("ID", ignore_index=True)
    path = options.corpus_folder / "all.csv"
    marker = Marker(
        options.corpus_folder / "all.json",
        {"data": str(corpus.root), "partial": options.partial, "utterances": _digest(table)},
    )
    print(f"== stage 0: corpus {corpus.name}\n  {corpus.source}")
    for fault in corpus.faults:
        print(f"  partial: {fault}")
    counts = ", ".join(f"{label} {count}" for label, count in table["emo"].value_counts().sort_index().items())
    hours = table["duration"].sum() / 3600
    print(f"  {len(table)} utterances ({counts}), {hours:.2f} h, {table['spk_id'].nunique()} speakers")
    if marker.done("stage 0", options.force):
        print(f"  {path} is already made of it")
        return
    store.discard(options.corpus_folder)
    manifest.write(path, table)
    marker.write([path], source=corpus.source, root=str(corpus.root), faults=corpus.faults)
    print(f"  wrote {path}")


def _digest(table) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False)
    return digest(text.getvalue())


@exits
def main() -> None:
    """Run stage 0."""
    prepare(parse())


if __name__ == "__main__":
    main()
