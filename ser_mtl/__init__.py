"""Emotion and words of speech, for programs of your own; `pip install -e .` makes it importable anywhere.

    import ser_mtl

    recognizer = ser_mtl.load("MODEL")            # what python -m local.export wrote, or a name on the hub
    recognizer.analyze("any.flac").posteriors
    for item, analysis in ser_mtl.predict(recognizer, ["talks/"]):
        print(item.file, analysis.emotion if analysis else item.error)

The code is the folder `local` beside this one. Every Kaldi-style recipe has a folder of that name, so it is imported
as `ser_mtl.local` here: in its files, `from local.x import y` is read as `from ser_mtl.local.x import y`. Neither
`local` nor the repository is put on the path, and another project's `local` can be imported before or after.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from os import PathLike
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.inference.analyzer import Analysis
    from local.inference.items import Item
    from local.inference.recognizer import EmotionRecognizer

__all__ = ["EmotionRecognizer", "load", "predict"]

CODE = f"{__name__}.local"
_HERE = Path(__file__).resolve().parent
_ABOVE = _HERE if (_HERE / "local").is_dir() else _HERE.parent  # in a wheel, it lies in this folder


class _Loader(SourceFileLoader):
    """Loads a file of `local` with its imports of `local` renamed."""

    def source_to_code(self, data: bytes, path: str, **_: Any) -> CodeType:
        tree = ast.parse(data, path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("local."):
                node.module = f"{__name__}.{node.module}"
        return compile(tree, path, "exec", dont_inherit=True)

    def path_stats(self, path: str) -> dict[str, Any]:
        raise OSError("no bytecode is kept: it would be taken for that of the unchanged file")


class _Finder(MetaPathFinder):
    """Finds `ser_mtl.local` and what is in it."""

    def find_spec(self, name: str, path: Iterable[str] | None, target: object = None) -> ModuleSpec | None:
        if f"{name}.".startswith(f"{CODE}."):
            spec = PathFinder.find_spec(name, [str(_ABOVE)] if name == CODE else path)
            if spec and isinstance(spec.loader, SourceFileLoader):
                spec.loader = _Loader(spec.loader.name, spec.loader.path)
            return spec
        return None


sys.meta_path.insert(0, _Finder())


def __getattr__(name: str) -> Any:
    """Import `EmotionRecognizer` at its first use: torch takes seconds to load."""
    if name == "EmotionRecognizer":
        from ser_mtl.local.inference import EmotionRecognizer

        return EmotionRecognizer
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def load(
    model: str | Path, device: str | None = None, precision: str = "fp32", unsure: float | None = None
) -> EmotionRecognizer:
    """Load a model folder that `python -m local.export` wrote, or a model of the Hugging Face hub by its name.

    `device` is one of torch's (by default a GPU if there is one), `precision` fp32, tf32, bf16 or fp16. With
    `unsure`, a threshold, an analysis has `confidence` and whether it is `unsure`. A folder that is missing or broken
    raises a `UserError` (`ser_mtl.local.core.errors`); no code of the folder is run.

    Weights are pages of their file while the model is in use. To replace a model beneath a running program, rename
    another folder to its name: one whose file is overwritten in place changes, or ends the process. Threads may share
    a recognizer; processes load one each, or are forked after it is loaded, and then compute with one thread.
    """
    from ser_mtl.local.inference import EmotionRecognizer

    return EmotionRecognizer.from_hparams(model, run_opts={"device": device, "precision": precision}, unsure=unsure)


def predict(
    recognizer: EmotionRecognizer,
    audio: Iterable[str | PathLike] | str | PathLike,
    segments: bool = False,
    batch_seconds: float = 120,
) -> Iterator[tuple[Item, Analysis | None]]:
    """Analyze files, and the audio files of folders, as `ser-mtl-predict` does, in batches; yield them in order.

    An item has `file` and, with `segments`, `start` and `end` of a window in seconds. One that cannot be read has the
    reason as its `error`, and no analysis. Without `segments`, recordings longer than `recognizer.longest` seconds are
    such errors. A batch holds at most `batch_seconds`, with padding. A `UserError` for what is no path, as samples.
    """
    from ser_mtl.local.inference.items import analyze_items, files, path_of, whole_items, window_items

    items = files(map(path_of, [audio] if isinstance(audio, str | PathLike) else audio))
    items = window_items(items, recognizer.window) if segments else whole_items(items, recognizer.longest)
    yield from analyze_items(items, recognizer, batch_seconds, words=True)
