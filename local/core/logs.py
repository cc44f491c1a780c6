"""Logs of jobs: one line per event, with the time."""

from __future__ import annotations

import logging
import os
import sys

# On import it warns that it cannot save pictures.
logging.getLogger("speechbrain.utils.train_logger").addFilter(
    lambda record: "torchvision" not in record.getMessage()  # its import would reset a level
)


def log_to_stderr() -> None:
    """Log to stderr; of transformers errors alone, and no progress bars; of SpeechBrain and ONNX warnings.

    SpeechBrain would say which options it takes from the YAML, and two lines more about each epoch.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    # Not by a level: each of SpeechBrain's modules sets its own when it is imported.
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.name.startswith("speechbrain.") or record.levelno > logging.INFO)
    for name in ("onnx_ir", "onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Not by calls where it is not imported yet: a training without an encoder does without it.
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
