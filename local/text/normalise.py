"""Normalise transcripts for training and scoring."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

# {LG}, [BREATHING], <noise>, (laughs): tags of transcribers for sounds that are not words.
NOISE_TAG = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|<[^<>]*>|\([^()]*\)")
APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\uff07": "'", "\u0149": "'n"})
# U+2019 is an apostrophe and a closing quotation mark: the latter where a mark opens before it and no letter follows.
QUOTED = re.compile(r"(?<!\w)[\u2018\u201a\u201b]((?:[^\u2018-\u201b]|\u2019(?=\w))*)\u2019(?!\w)")
HYPHENS = "-\u2010\u2011"
DASH = re.compile(rf"[{HYPHENS}]{{2,}}|(?<=\d)[{HYPHENS}](?=\d)")  # typed as hyphens: `I mean--yes`, `1914-1918`
# Inside a word: the quotation marks of Hebrew acronyms and Uzbek letters, the middle dot of Catalan, the marks that
# Armenian sets above a vowel, what hides letters (f**k).
WITHIN_WORDS = HYPHENS + '"*\u2018\u2019\u201b\u00b7\u2027\u05f3\u05f4\u055a\u055b\u055c\u055e'
TATWEEL = "\u0640\u07fa"  # which stretch a word of Arabic or N'Ko, and are letters to Unicode
VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # how the character before it is drawn
DOTTED_I = re.compile("I\u0307+")
ENGLISH = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"


def normalise(text: str, alphabet: str | None = None) -> str:
    """Normalise a transcript for training and scoring; what is normalised already stays as it is.

    Unicode NFC, no noise tags, upper case, single spaces. Punctuation and symbols become a space, also between two
    letters or digits, but those that occur within words are deleted (as in the paper: WELL-KNOWN becomes WELLKNOWN).
    An apostrophe is kept inside and at the edge of a word, but not alone; a closing quotation mark is none.
    Combining marks belong to their letter and go where there is none. Upper case of `i` and of Turkish dotless `i`
    is I, and so is the dotted capital: no language is known here.

    Parameters
    ----------
    text
        A transcript of the corpus.
    alphabet
        The upper-case letters, and the apostrophe, that are kept; others and digits are deleted (see `dropped`).
        None keeps every Unicode letter with its marks and every digit.

    Examples
    --------
    >>> normalise("It\u2019s {LG} well-known\u2014isn't it?", ENGLISH)
    "IT'S WELLKNOWN ISN'T IT"
    >>> normalise("\u201eMleko jest źródłem wapnia\u201d 2.4")
    'MLEKO JEST ŹRÓDŁEM WAPNIA 2 4'
    >>> normalise("[BREATHING]")
    ''
    """
    text = NOISE_TAG.sub(" ", unicodedata.normalize("NFC", text))
    text = DASH.sub(" ", QUOTED.sub(r" \1 ", text)).translate(APOSTROPHES)
    # Marks first: one of Greek has an upper case, which is a letter. Lower case first: `ß` has two upper cases.
    decomposed = unicodedata.normalize("NFD", "".join(_kept(text)).lower().upper())
    text = unicodedata.normalize("NFC", DOTTED_I.sub("I", decomposed))
    if alphabet is not None:
        text = "".join(character for character in text if character == " " or character in alphabet)
    return " ".join(word for word in text.split(" ") if word.strip("'"))


def dropped(text: str, alphabet: str) -> str:
    """The letters, marks and digits of a transcript that `normalise` deletes because the alphabet lacks them.

    >>> dropped("Room 24 of the café", ENGLISH)
    '24É'
    """
    return "".join(character for character in normalise(text) if character not in f"{alphabet} ")


def _kept(text: str) -> Iterator[str]:
    """Letters with their combining marks, digits and apostrophes of a text; spaces between words."""
    has_base = False
    for character in text:
        role = _role(character)
        if role == "mark":
            if has_base:
                yield character
        elif role != "nothing":  # which may be between a letter and its mark, as a zero-width joiner
            has_base = role == "letter"
            if role != "within":
                yield " " if role == "space" else character


@cache
def _role(character: str) -> str:
    category = unicodedata.category(character)
    if character == "'":
        return "apostrophe"
    if character in TATWEEL:
        return "nothing"
    if category[0] in "LN":
        return "letter"
    if category == "Me" or VARIATION.match(character):  # emoji: a key's frame, colour
        return "nothing"
    if category[0] == "M":
        return "mark"
    if character in WITHIN_WORDS or category == "Sk":  # don`t
        return "within"
    return "space" if character.isspace() or category[0] in "PS" else "nothing"
