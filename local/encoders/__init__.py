"""Speech encoders: a batch of waveforms to frames, the same for an utterance alone and in any batch.

Three families, a file each, cover the Hugging Face hub: wav2vec 2.0, HuBERT, WavLM and data2vec-audio
read the waveform through a CNN; w2v-BERT 2.0 reads filter banks; Whisper (its encoder) log-mel spectra.
Two more are recognisers of other libraries: torchaudio's Emformer and SpeechBrain's conformers.

The weights of the hub are loaded with transformers, not with SpeechBrain's lobes: those normalise the padded batch,
let padding into group norm, pad Whisper's input to 30 s, and query the hub even for cached models.
"""

from typing import Any

from local.encoders.base import Encoder, length_mask

__all__ = ["KNOWN", "Encoder", "build_encoder", "description", "length_mask", "load_encoder", "refuse_undeclared"]


def __getattr__(name: str) -> Any:
    """What is of `local.encoders.load`, which takes seconds to import: a system without an encoder needs none of it."""
    if name in __all__:
        from local.encoders import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
