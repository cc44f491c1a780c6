"""The frozen encoder of a probe: the YAML's `upstream`."""

from __future__ import annotations

from pathlib import Path

from local.encoders import Encoder


def frozen(encoder: Encoder) -> Encoder:
    """The encoder, never trained from here on, and always in evaluation mode.

    Of a model folder it comes unfrozen.
    """
    encoder.freeze = encoder.freeze_cnn = True
    return encoder.requires_grad_(False).eval()


def pretraining(encoder: Encoder) -> str:
    """What tables say of its weights: the name of its folder or of the hub, `no pretraining` where they are random."""
    return Path(encoder.source).name or "no pretraining"
