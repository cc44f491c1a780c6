"""Normalised transcripts."""

import csv
import hashlib
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.text.normalise import ENGLISH, dropped, normalise

# Of the 5,531 texts of the lists that the paper's authors released, normalised before punctuation became a space.
PAPER_TEXTS = "85f040311c9fd0d2b3db03ce40831c1f57297f7e02a37439f75da4180a0f1729"
PAPER_LISTS = os.environ.get("PAPER_LISTS", "")  # the folder `iemocap` of TideDancer/interspeech21_emotion

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# What upper case, composition and the rules for marks, apostrophes and dashes have most trouble with.
TROUBLE = st.text("aeEbi\u0131\u0130I\u0149\u01f0\u0390\u1fb3\u0345\u0307\u0301\u0323\ufe0f\u200d '\u2019\u2018-./[]0")


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("Excuse me.", "EXCUSE ME"),
        ("I'm  not\tsure--", "I'M NOT SURE"),
        ("{LG} {BR}", ""),
        ("Oh [LAUGHTER] no <unk> (sighs) really?", "OH NO REALLY"),
        ("don\u2019t", "DON'T"),
        ("' quoted '", "QUOTED"),
        ("caf\u00e9 24", "CAF"),
        ("", ""),
        ("I mean--I don't know...what?", "I MEAN I DON'T KNOW WHAT"),
        ("Yes,I do", "YES I DO"),
        ("either/or", "EITHER OR"),
        ("No!Stop:now;or?never.ever", "NO STOP NOW OR NEVER EVER"),
        ("well-known, co\u2010op, re\u2011read - yes -no", "WELLKNOWN COOP REREAD YES NO"),
        ("rock-'n'-roll, the boys' dogs, 'cause", "ROCK'N'ROLL THE BOYS' DOGS 'CAUSE"),
        ("U.S.A.", "U S A"),
    ],
)
def test_english(raw, normalised):
    assert normalise(raw, ENGLISH) == normalised


@pytest.mark.parametrize("mark", [",", ".", ";", ":", "?", "!", "/", "\\", "|", "_", "--", "...", "\u2026", "?!"])
def test_punctuation_between_letters_is_a_space(mark):
    assert normalise(f"one{mark}two", ENGLISH) == normalise(f"one{mark}two") == "ONE TWO"


def test_every_dash_of_unicode_is_a_space_but_the_hyphens():
    dashes = {character for character in map(chr, range(0x110000)) if unicodedata.category(character) == "Pd"}
    assert len(dashes) >= 25
    joined = {dash for dash in dashes | {"\u2212", "\u2053"} if normalise(f"a{dash}b") != "A B"}
    assert joined == {"-", "\u2010", "\u2011"} and {normalise(f"a{dash}b") for dash in joined} == {"AB"}


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("\u597d\u3002\u662f\uff0c\u4e0d\uff1f", "\u597d \u662f \u4e0d"),  # Chinese
        ("\u0646\u0639\u0645\u060c\u0644\u0627\u061f", "\u0646\u0639\u0645 \u0644\u0627"),  # Arabic
        ("\u0644\u0640\u0640\u0640\u0652\u0639", "\u0644\u0652\u0639"),  # Arabic, stretched before a mark
        ("\u0939\u093e\u0901\u0964\u0928\u0939\u0940\u0902", "\u0939\u093e\u0901 \u0928\u0939\u0940\u0902"),  # Hindi
        ('\u05e6\u05d4"\u05dc', "\u05e6\u05d4\u05dc"),  # a Hebrew acronym
        ("\u05d1\u05d9\u05ea\u05be\u05e1\u05e4\u05e8", "\u05d1\u05d9\u05ea \u05e1\u05e4\u05e8"),  # its hyphen
        ("col\u00b7lecci\u00f3", "COLLECCI\u00d3"),  # Catalan
        ("o\u2018zbek", "OZBEK"),
        ("\u0548\u055e\u057e", "\u0548\u054e"),  # the Armenian question mark, above a vowel
    ],
)
def test_punctuation_of_other_scripts(raw, normalised):
    assert normalise(raw) == normalised


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("\u2018quoted\u2019", "QUOTED"),
        ("\u2018I don\u2019t know,\u2019 said the boys\u2019 father", "I DON'T KNOW SAID THE BOYS' FATHER"),
        ("\u201cHe said \u2018no\u2019.\u201d", "HE SAID NO"),
        ("\u201akoniec\u2019", "KONIEC"),
        ("\u201aJa\u2018, sagt Hans\u2019 Vater", "JA SAGT HANS' VATER"),
        ("rock \u2019n\u2019 roll", "ROCK 'N' ROLL"),
    ],
)
def test_a_closing_quotation_mark_is_no_apostrophe(raw, normalised):
    assert normalise(raw) == normalised


def test_any_alphabet_keeps_letters_and_digits():
    assert normalise("Zażółć gęślą jaźń, 24!") == "ZAŻÓŁĆ GĘŚLĄ JAŹŃ 24"
    assert normalise("3.5 at 10:30 or 1914-1918, 1/2, covid-19") == "3 5 AT 10 30 OR 1914 1918 1 2 COVID19"


def test_what_an_alphabet_drops_is_named():
    assert dropped("In 1990 it's a caf\u00e9 {LG} [24], well-known.", ENGLISH) == "1990\u00c9"
    assert dropped("It's \u2018well-known\u2019: yes...", ENGLISH) == ""


def test_upper_and_lower_case_agree_in_turkish_and_azeri():
    forms = {"i\u011fne", "\u0130\u011fne", "\u0130\u011eNE", "\u0130\u011fne".lower(), "I\u0307\u011fne"}
    assert {normalise(form) for form in forms} == {"I\u011eNE"}
    assert normalise("\u0131\u015f\u0131k") == normalise("I\u015eIK") == "I\u015eIK"


def test_case_makes_no_other_word_of_any_letter():
    for letter in map(chr, range(0x110000)):
        if letter.lower() != letter.upper():
            assert normalise(f"a{letter}b") == normalise(f"A{letter.upper()}B") == normalise(f"a{letter.lower()}b")


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("well then \u2764\ufe0f", "WELL THEN"),
        ("\u2764\ufe0f", ""),
        ("\u2764\ufe0e \ufe0f '\u0301 -\u0301 \u0345", ""),
        ("press 1\ufe0f\u20e3 \u20e3", "PRESS 1"),
        ("well\U0001f468\u200d\U0001f469\u200d\U0001f467then", "WELL THEN"),
        ("a.\u0301b", "A B"),  # the accent is the full stop's
        ("e\u200d\u0301", "\u00c9"),
        ("\u09b0\u200d\u09cd\u09af", "\u09b0\u09cd\u09af"),  # Bengali writes a joiner between a letter and its mark
    ],
)
def test_marks_without_a_letter_are_no_words(raw, normalised):
    assert normalise(raw) == normalised


def test_composed_and_decomposed_are_one_text():
    word = "źródło"
    assert normalise(unicodedata.normalize("NFD", word)) == normalise(word)


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT | TROUBLE, st.sampled_from([None, ENGLISH]))
def test_normalising_twice_changes_nothing(text, alphabet):
    once = normalise(text, alphabet)
    assert normalise(once, alphabet) == once


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT | TROUBLE)
def test_words_have_letters_digits_and_their_marks_only(text):
    found = normalise(text)
    assert found == unicodedata.normalize("NFC", found).strip() and "  " not in found
    for word in found.split():
        base = False
        for character in word:
            kind = unicodedata.category(character)[0]
            assert character == "'" or kind in "LN" or (kind == "M" and base)
            base = character != "'"
        assert word.strip("'")


PAPER_WORDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(PAPER_WORDS | st.sampled_from([".", "{LG}", "{BR}", "{NS}"])))
def test_the_papers_form_of_text_stays(parts):
    """The 5,531 texts have upper-case words with apostrophes, tags, and full stops between blanks: nothing is glued."""
    words = [part for part in parts if part[0] not in ".{" and part.strip("'")]
    assert normalise(" ".join(parts), ENGLISH) == " ".join(words)


@pytest.mark.skipif(not PAPER_LISTS, reason="the paper's lists are not ours to keep: PAPER_LISTS names their folder")
def test_the_papers_texts_stay_as_they_were():
    texts = {}
    for path in Path(PAPER_LISTS).glob("iemocap_*.test.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            texts |= {Path(row["file"]).stem: row["text"] for row in csv.DictReader(file)}
    assert len(texts) == 5531
    lines = "".join(f"{name} {normalise(texts[name], ENGLISH)}\n" for name in sorted(texts))
    assert hashlib.sha256(lines.encode()).hexdigest() == PAPER_TEXTS
