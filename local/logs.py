"""Logs of jobs: one line per event, with the time."""

from __future__ import annotations

import logging

from transformers.utils import logging as transformers_logging

# It regrets, on being imported, that it could not save pictures.
logging.getLogger("speechbrain.utils.train_logger").setLevel(logging.ERROR)


def log_to_stderr() -> None:
    """Log what happens; of transformers the errors only, and no bars of loading weights."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
