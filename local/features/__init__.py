"""Front ends: a waveform to rows of numbers, by a fixed rule; a file for each."""

from local.features.base import FrontEnd

__all__ = ["FrontEnd"]
