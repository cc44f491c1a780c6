"""Speech from text by libespeak-ng, the formant synthesiser in the package espeakng-loader.

A binding of the few functions that a corpus needs, whose samples depend on the arguments alone. By
itself the library makes no two utterances alike:

- The noise of breathy voices comes from a generator that is seeded by the clock; here it has one seed.
- The flutter (a small wobble of F0) continues from the utterance before, and neither a new voice nor
  `espeak_Terminate` resets it; so the library is loaded again for each utterance, in some 2 ms.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import os
from collections.abc import Iterator

import numpy as np

from local.core import signals
from local.core.errors import UserError

# From espeak-ng's speak_lib.h.
SYNCHRONOUS = 2  # espeak_Synth returns when the callback has had all samples; no thread, no sound card
DONT_EXIT = 0x8000  # a missing data folder is an error code rather than the end of the process
UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

REMEDY = "install the packages of requirements.txt, or run another corpus than mini"


def version() -> str:
    """Version of the library, such as 1.52.0.

    Raises
    ------
    UserError
        The library is missing or does not load.
    """
    with _library() as library:
        return library.espeak_Info(None).decode()


def speak(text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> tuple[np.ndarray, int]:
    """Say `text`; the same arguments always give the same samples.

    Parameters
    ----------
    text
        Text with its punctuation, which shapes the intonation.
    voice
        Language and variant, such as `en-us+f3`. The library ignores a variant that it does not know.
    rate
        Words per minute, 80 to 450; 175 is espeak's usual.
    pitch
        Base pitch, 0 to 100; 50 is the voice's own.
    pitch_range
        Extent of the intonation, 0 (monotone) to 100; 50 is the voice's own.

    Returns
    -------
    numpy.ndarray, int
        Samples [frames], int16, and the sampling rate in Hz (22050).

    Raises
    ------
    UserError
        The library is missing or does not load, or does not speak that language.
    """
    chunks: list[bytes] = []

    @CALLBACK
    def collect(samples, count: int, _events) -> int:
        if count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    with signals.hold(), _library() as library:
        sampling_rate = _initialise(library)
        try:
            library.espeak_SetSynthCallback(collect)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise UserError(f"libespeak-ng has no voice {voice}", REMEDY)
            for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
                library.espeak_SetParameter(parameter, value, 0)
            encoded = text.encode() + b"\0"
            status = library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 0, 0, UTF8, None, None)
        finally:
            library.espeak_Terminate()
    if status != 0 or not chunks:
        raise UserError(f"libespeak-ng could not say {text!r} as {voice} (status {status})", REMEDY)
    return np.frombuffer(b"".join(chunks), dtype=np.int16), sampling_rate


@contextlib.contextmanager
def _library() -> Iterator[ctypes.CDLL]:
    """Load the library, and unload it at the end, so that the next load begins with new variables."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError) as error:
        raise UserError(f"libespeak-ng, which speaks the mini corpus, does not load: {error}", REMEDY) from None
    library.espeak_Info.restype = ctypes.c_char_p
    try:
        yield library
    finally:
        _ctypes.dlclose(library._handle)  # ctypes itself never unloads


def _initialise(library: ctypes.CDLL) -> int:
    """Point the library to the voices of its package, and return its sampling rate in Hz."""
    import espeakng_loader

    try:
        folder = espeakng_loader.get_data_path()
    except RuntimeError as error:
        raise UserError(f"the voices of libespeak-ng are missing: {error}", REMEDY) from None
    # The library cuts a path off at 160 bytes, which a deep clone exceeds but a relative path may not.
    folder = min(folder, os.path.relpath(folder), key=len)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, folder.encode(), DONT_EXIT)
    used = ctypes.c_char_p()
    library.espeak_Info(ctypes.byref(used))
    # A folder that it cannot use sends it to look elsewhere: $ESPEAK_DATA_PATH, the home folder, /usr/share.
    if rate <= 0 or used.value != folder.encode():
        raise UserError(f"libespeak-ng cannot use its voices in {folder}", "clone to a shorter path, or reinstall")
    return rate
