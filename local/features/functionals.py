"""eGeMAPS functionals of openSMILE: 88 numbers per utterance.

F. Eyben et al.: The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing.
IEEE Transactions on Affective Computing 7, 2016. The set is `eGeMAPSv02` of the Python package opensmile. Its licence
forbids commercial use: so it is an extra, `egemaps`, which a user installs.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from local.core.errors import UserError
from local.features import FrontEnd

RATE = 16_000  # Hz
LEAST = 960  # samples: 60 ms, the longest of its windows, and of fewer samples it computes nothing
VERSION = "2.6.0"  # of opensmile, as in pyproject.toml


class Functionals(FrontEnd):
    """Waveform -> [1, 88]; a shorter one than 60 ms is filled with zeros. A `UserError` without opensmile."""

    width = 88

    def __init__(self) -> None:
        super().__init__()
        if find_spec("opensmile") is None:
            raise UserError(
                "opensmile, which computes eGeMAPS, is not installed: its licence forbids commercial use",
                f"if your use is none, install it: . ./path.sh && python -m pip install opensmile=={VERSION}",
            )

    def rows(self, wav: Tensor) -> Tensor:
        """[N] -> [1, 88], computed on the CPU."""
        filled = F.pad(wav, (0, max(0, LEAST - len(wav)))).cpu().numpy()
        return torch.from_numpy(_smile().process_signal(filled, RATE).to_numpy("float32", copy=True)).to(wav.device)


@cache
def _smile() -> Any:
    """The program with this set: slow to begin, and not to be copied with a system."""
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
