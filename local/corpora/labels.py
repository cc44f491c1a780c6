"""Labels of a table: one spelling each, labels that are probably typing errors, and labels that are lost.

Labels that differ in case, blanks and underscores only, or as a spreadsheet changes a number (01, 1), are one label.
The spelling of most rows is taken; of equally frequent ones that with fewer capital letters, then the first in the
order of the alphabet. A blank within a label is written `_`. An underscore between two digits counts: 1_1 is not 11.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from local.core.counted import counted
from local.corpora.faults import Fault
from local.corpora.names import is_name, same_name

SIGNS = "_-"  # that a label may have besides letters and digits
FEW = 5  # rows at most of a label that may be a typing error,
RARE = 1 / 5  # and its rows are at most this share of those of the label that it resembles
SHOWN = 5  # labels in a remedy
ALIKE = 0.75  # share of letters in common: `angre` and `angry` have 0.8, `sad` and `mad` 0.67
PREFIX = 2  # letters of a prefix that makes another word
# What pandas, spreadsheets, databases and people write where a value is missing.
MISSING = {
    *("nan", "-nan", "nat", "na", "n/a", "n.a.", "<na>", "#n/a", "#na", "null", "none", "nil"),
    *("missing", "undefined", "unknown", "-", "--"),
}
AS_MISSING = "looks like a missing value"
NOT_BETWEEN_DIGITS = re.compile(r"(?<![\d_])_+|_+(?![\d_])")

Row = dict[str, str]


def fold(label: str) -> str:
    """What all spellings of a label have in common.

    >>> {fold(label) for label in ("Very angry", "very_angry", "VeryAngry")}, fold("1_1"), fold("01")
    ({'veryangry'}, '1_1', '1')
    """
    return same_name(NOT_BETWEEN_DIGITS.sub("", _without_blanks(label)))


def _without_blanks(label: str) -> str:
    return "_".join(label.split())


def one_spelling(labels: Iterable[str], meant: Collection[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Choose a spelling for each label.

    `labels` are those of all rows; a spelling in `meant` is never changed, and of its other spellings it is taken.
    Returns what each spelling becomes, and a line with all counts for each label that had several, or a blank.
    """
    counts, alike, chosen, lines = Counter(filter(None, labels)), defaultdict(list), {}, []
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        alike[fold(label)].append(label)
    for spellings in alike.values():
        forms: Counter[str] = Counter()
        for label in spellings:
            forms[_without_blanks(label)] += counts[label]
        order = sorted(forms, key=lambda form: (-forms[form], sum(map(str.isupper, form)), form))
        kept = [form for form in order if form in meant]
        best = next((form for form in kept or order if is_name(form, SIGNS)), order[0])
        chosen |= {label: label if label in kept else best for label in spellings}
        if any(chosen[label] != label for label in spellings):
            tie = not kept and any(forms[form] == forms[best] for form in order if form != best)
            lines.append(_say([f"{label!r} ({counted(counts[label], 'row')})" for label in spellings], best, tie))
    return chosen, lines


def _say(found: list[str], best: str, tie: bool) -> str:
    """The line on a label: each spelling with its rows, the most frequent first, and the one that is taken."""
    if len(found) == 1:
        return f"emo {found[0]} is written {best!r}"
    why = ", of equal counts the one with fewer capitals, or the earlier one in the alphabet" if tie else ""
    return f"emo {', '.join(found[:-1])} and {found[-1]} are one label: {best!r} is taken{why}"


def intended(label: str, counts: Counter[str]) -> str:
    """The label that was probably meant by a rare one of a similar name; empty where there is none.

    `counts` has the rows of each label. Labels that differ in digits only (`happy1`, `happy2`) or by a prefix of two
    letters or more (`approval`, `disapproval`) are not similar.

    >>> counts = Counter(angry=126, angre=2, sad=100, mad=2)
    >>> intended("angre", counts), intended("mad", counts)
    ('angry', '')
    """
    if counts[label] > FEW:
        return ""
    alike = {
        other: SequenceMatcher(None, fold(label), fold(other)).ratio()
        for other, count in counts.items()
        if counts[label] <= RARE * count and not _differ_by_design(label, other)
    }
    best = max(alike, key=lambda other: (alike[other], counts[other], other), default="")
    return best if best and alike[best] >= ALIKE else ""


def _differ_by_design(one: str, other: str) -> bool:
    if re.sub(r"[\d_-]+", "", one) == re.sub(r"[\d_-]+", "", other):
        return True
    short, long = sorted((fold(one), fold(other)), key=len)
    return long.endswith(short) and len(long) - len(short) >= PREFIX


def rare_faults(
    file: str, records: Sequence[tuple[int, Row]], utterances: dict[int, dict], meant: Collection[str]
) -> list[Fault]:
    """Remove the utterances of labels that are probably typing errors, or that one utterance has; a fault for each.

    `records` are the rows of the file with their lines, in `utterances` by line those that can be used. A label in
    `meant` is no typing error.
    """
    counts = Counter(row["emo"] for _, row in records if row["emo"])
    sizes = Counter(utterance["emo"] for utterance in utterances.values())
    other = {label: intended(label, counts) for label in counts if label not in meant}
    faults = []
    for line, row in records:
        label = row["emo"]
        if best := other.get(label):
            of_both = (f"{name!r} ({counted(counts[name], 'row')})" for name in (label, best))
            reason = "emo {}: did you mean {}?".format(*of_both)
        elif label and line in utterances and sizes[label] == 1:
            alone = f"no other utterance that can be used has the emotion {label!r}"
            reason = f"emo {label!r} {AS_MISSING}" if is_missing(label) else alone
        else:
            continue
        faults.append(Fault(file, line, utterances.pop(line, row).get("ID", ""), reason))
    return faults


def is_missing(word: str) -> bool:
    """Whether a word is one of those that stand for a missing value."""
    return word.lower() in MISSING


def readable(table: Iterable[Row], column: str) -> list[str]:
    """The labels of the rows that have one; the columns of broken rows are a guess, and may hold anything."""
    return [label for row in table if is_name(label := row.get(column, ""), SIGNS)]


def lost(before: Iterable[str], after: Iterable[str]) -> dict[str, int]:
    """The rows of each label that `before` has, the labels of all rows, and `after`, those of the used ones, has not.

    Words for a missing value are no labels that would be lost.

    >>> lost(["sad", "", "hap", "sad"], ["hap"])
    {'sad': 2}
    """
    left = set(after)
    return {
        label: count
        for label, count in sorted(Counter(filter(None, before)).items())
        if label not in left and not is_missing(label)
    }


def lost_faults(file: str, labels: Mapping[str, int]) -> list[Fault]:
    """A fault for each label that is `lost` from a file, so that `--partial true` names each that it leaves out."""
    words = "the emotion {!r} is left out as a whole: none of its {} can be used"
    return [Fault(file, None, "", words.format(label, counted(count, "row"))) for label, count in labels.items()]


def remedy(labels: Collection[str], left: Iterable[str], hint: str = "") -> str:
    """What to do about faults without which these labels are `lost`; `hint` is on how to fix them.

    `left` are the labels of the utterances without faults; with fewer than two emotions nothing can go on.

    >>> remedy(["sad"], ["ang", "hap"])
    "fix them, or go on without them and without the emotion 'sad': --partial true"
    >>> remedy(["sad"], ["ang", "ang"])
    'fix them'
    """
    if len({*left} - {""}) < 2:
        return f"fix them{hint}"
    more = len(labels) - SHOWN
    names = ", ".join(list(map(repr, labels))[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    without = f" and without the emotion{'s' if len(labels) > 1 else ''} {names}" if labels else ""
    return f"fix them{hint}, or go on without them{without}: --partial true"
