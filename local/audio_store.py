"""Decode the corpus's audio once, for every fold, seed and job.

    python -m local.audio_store OPTIONS

writes the store that `local.data.store` describes. An error at its end names every file whose samples are unsound.
"""

from __future__ import annotations

from local.core.counted import counted
from local.core.errors import as_command
from local.experiment.command_line import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

import logging
import time

from local.data.store import AudioStore, refuse_unsound


@as_command
def main() -> None:
    """Build the audio store of a corpus."""
    logging.basicConfig(format="  %(message)s")
    logging.getLogger("local").setLevel(logging.INFO)
    began = time.monotonic()
    store = AudioStore.of(*parse().audio())
    refuse_unsound(store.path.parent, store.facts["faults"])
    size = store.path.stat().st_size / 1e9
    built = f"built in {time.monotonic() - began:.0f} s"
    print(f"  audio store: {counted(len(store), 'utterance')}, {size:.2f} GB ({built})")


if __name__ == "__main__":
    main()
