"""Logs of jobs: one line per event, with the time."""

from __future__ import annotations

import logging

from transformers.utils import logging as transformers_logging

# It regrets, on being imported, that it could not save pictures.
logging.getLogger("speechbrain.utils.train_logger").addFilter(
    lambda record: "torchvision" not in record.getMessage()  # a level would be set anew when it is imported
)


def log_to_stderr() -> None:
    """Log what happens; of transformers the errors only, and no bars of loading weights; of graphs what is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    for name in ("onnx_ir", "onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
