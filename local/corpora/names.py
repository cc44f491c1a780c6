"""Names in tables and on disks: which are allowed, which are one in two spellings, which file was meant."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from local.text.normalise import VARIATION

JOINERS = "\u200c\u200d"  # without a width; Persian and Sinhala write them within words
WHOLE_NUMBER = re.compile(r"0*(\d+?)(?:\.0*)?")  # as spreadsheets and pandas change `01`: 1, 1.0


def is_name(value: str, signs: str) -> bool:
    """Whether a name consists of letters, with the combining marks that they have in many scripts, digits and `signs`.

    >>> is_name("\u0916\u0941\u0936\u0940", "-"), is_name("very angry", "-")
    (True, False)
    """
    return bool(value) and all(
        character in signs
        or unicodedata.category(character)[0] in "LN"
        or (place and (character in JOINERS or _is_mark(character)))
        for place, character in enumerate(value)
    )


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc") and not VARIATION.match(character)


def same_name(value: str) -> str:
    """What all spellings of one person's, session's or label's name have in common.

    The case does not count, nor the form of a letter or digit, nor what is not seen; a whole number counts by value.

    >>> {same_name(name) for name in ("01", "1", "1.0", "\uff11", "\u0661")}, same_name("Ann")
    ({'1'}, 'ann')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    seen = (character for character in folded if unicodedata.category(character) != "Cf")
    plain = "".join(str(unicodedata.decimal(character, character)) for character in seen)
    number = WHOLE_NUMBER.fullmatch(plain)
    return number[1] if number else plain


def same_file(name: str) -> str:
    """What the names of a file have in common on disks that ignore case and the form of accented letters."""
    return unicodedata.normalize("NFC", name).casefold()


class Disk:
    """The files under a folder, found by names that need not be theirs to the letter; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, path: str) -> str | None:
        """The path, below the root, of what has this path but for case or Unicode form; None where there is none."""
        found = Path()
        for part in Path(path).parts:
            if not os.path.lexists(self.root / found / part):
                names = self._names(self.root / found)
                part = names.get(unicodedata.normalize("NFC", part)) or names.get(same_file(part))
                if part is None:
                    return None
            found /= part
        return str(found)

    def other_case(self, path: str) -> str:
        """What a message that `path` is missing says besides, where there is a file of that name in another case."""
        found = self.find(path)
        return f", but there is '{found}': only the case differs" if found and found != path else ""

    def _names(self, folder: Path) -> dict[str, str]:
        """The names in a folder by what is asked for: in NFC, and as `same_file` makes it."""
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            by_case = {same_file(name): name for name in names}
            self._listed[folder] = by_case | {unicodedata.normalize("NFC", name): name for name in names}
        return self._listed[folder]
