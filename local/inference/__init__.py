"""A model in use: `from local.inference import EmotionRecognizer`."""

from typing import Any

__all__ = ["EmotionRecognizer"]


def __getattr__(name: str) -> Any:
    """`EmotionRecognizer` is imported at its first use: SpeechBrain takes a second to load."""
    if name == "EmotionRecognizer":
        from local.inference.recognizer import EmotionRecognizer

        return EmotionRecognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
