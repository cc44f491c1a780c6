"""A model in use: `from local.inference import EmotionRecognizer`."""

from local.inference.recognizer import EmotionRecognizer

__all__ = ["EmotionRecognizer"]
