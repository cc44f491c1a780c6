"""The base class of front ends that are made by a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from local.encoders import Encoder, description
from local.features import FrontEnd

if TYPE_CHECKING:
    from typing import Self  # from Python 3.11 on


class EncoderFrontEnd(FrontEnd):
    """What a frozen encoder makes of a waveform.

    The encoder is in evaluation mode and is not registered here: it is a part of the system, which holds its weights.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._held = (encoder,)
        self.max_samples = encoder.max_samples

    @property
    def encoder(self) -> Encoder:
        """The encoder."""
        return self._held[0]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the encoder as well."""
        self.encoder.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def settings(self) -> dict[str, Any]:
        """The encoder's shape and preprocessor."""
        config, preprocessor = description(self.encoder)
        return {"encoder": config, "preprocessor": preprocessor}

    def weights(self) -> Iterable[Tensor]:
        """The encoder's weights."""
        return self.encoder.weights()
