"""Normalise transcripts for training and scoring."""

from __future__ import annotations

import re
import unicodedata

# {LG}, [BREATHING], <noise>, (laughs): tags of transcribers for sounds that are not words.
NOISE_TAG = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|<[^<>]*>|\([^()]*\)")
APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\uff07": "'"})
ENGLISH = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"


def normalise(text: str, alphabet: str | None = None) -> str:
    """Normalise a transcript for training and scoring.

    Unicode NFC, no noise tags, upper case, characters outside the alphabet deleted (as in the paper: WELL-KNOWN
    becomes WELLKNOWN), single spaces. An apostrophe is kept inside and at the edge of a word, but not alone.

    Parameters
    ----------
    text
        A transcript of the corpus.
    alphabet
        The upper-case characters that are kept besides the space; None keeps every Unicode
        letter, combining mark and digit, and the apostrophe.

    Examples
    --------
    >>> normalise("It\u2019s {LG} well-known,  isn't it?", ENGLISH)
    "IT'S WELLKNOWN ISN'T IT"
    >>> normalise("\u201eMleko jest źródłem wapnia\u201d 24")
    'MLEKO JEST ŹRÓDŁEM WAPNIA 24'
    >>> normalise("[BREATHING]")
    ''
    """
    text = NOISE_TAG.sub(" ", unicodedata.normalize("NFC", text)).translate(APOSTROPHES)
    # Upper-casing can decompose (the ligature U+FB01 becomes FI), hence NFC once more.
    text = unicodedata.normalize("NFC", text.upper())
    kept = (character if character.isspace() or _is_kept(character, alphabet) else "" for character in text)
    words = ("".join(kept)).split()
    return " ".join(word for word in words if word.strip("'"))


def _is_kept(character: str, alphabet: str | None) -> bool:
    if alphabet is not None:
        return character in alphabet
    return character == "'" or unicodedata.category(character)[0] in "LMN"
