"""What labels and corpora are called elsewhere.

Labels of models and other people's files are words (angry, anger, Wut) or the codes of a corpus (`05` of RAVDESS, `W`
of EMO-DB), as in `hparams/labels/aliases.csv`. A word means the same everywhere. A code does not: `A` is fear in EMO-DB
and anger in MSP-Podcast, so codes are read only where all labels are codes of one corpus.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from local.corpora.labels import fold
from local.corpora.rows import rows

READY = Path(__file__).parents[2] / "hparams" / "labels"
ALIASES = "aliases"  # the one file there that is no map
# How texts name corpora: regular expressions by the beginning of the name that the corpus has here.
# Where a name is a word or another product's in another case (NVIDIA's NeMo, the verb meld), the case counts.
NAMED = {
    "iemocap": r"(?i:IEMOCAP)",
    "ravdess": r"(?i:RAVDESS)",
    "cremad": r"(?i:CREMA[-_ ]?D)",
    "emodb": r"(?i:EMO[-_ ]?DB)|Berlin (?:Database of Emotional Speech|Emotional Speech Database)",
    "nemo": r"nEMO",
    "tess": r"TESS|Toronto [Ee]motional [Ss]peech [Ss]et",
    "savee": r"(?i:SAVEE)",
    "esd": r"ESD|Emotional Speech (?:Dataset|Database)",
    "emovdb": r"(?i:EmoV[-_ ]?DB)",
    "meld": r"MELD",
    "msp-improv": r"(?i:MSP[-_ ]?IMPROV)",
    "msp-podcast": r"(?i:MSP[-_ ]?Podcast)",
    "emovo": r"(?i:EMOVO)",
    "cafe": r"CaFE",
    "emozionalmente": r"(?i:Emozionalmente)",
    "aesdd": r"(?i:AESDD)",
}


@cache
def aliases() -> dict[tuple[str, str], str]:
    """The codes of `hparams/labels/aliases.csv`, by corpus, empty for all, and by alias as `fold` makes it."""
    found = rows(READY / f"{ALIASES}.csv", ("alias", "code"), [])
    return {(row.get("corpus", ""), fold(row["alias"])): row["code"] for _, row in found}


def code_of(label: str, corpus: str = "") -> str | None:
    """Our code of a label that is a word, such a code, or one of a corpus's; None where it is not known.

    >>> code_of("Angry"), code_of("pleasant surprise"), code_of("ANG"), code_of("05"), code_of("W", "emodb")
    ('ang', 'sur', 'ang', None, 'ang')
    """
    known = aliases()
    codes = {fold(code): code for code in known.values()}
    return known.get((corpus, fold(label))) or known.get(("", fold(label))) or codes.get(fold(label))


def codes_of(labels: Collection[str]) -> dict[str, str]:
    """Our codes of labels that are all codes of one corpus; none where they are of no corpus, or several differ.

    The case counts, and so does a zero: 5 may be the number of a class.

    >>> codes_of(["W", "N"]), codes_of(["A", "N"]), codes_of(["5"])
    ({'W': 'ang', 'N': 'neu'}, {}, {})
    """
    read = [{label: codes[label] for label in labels} for codes in _codes().values() if codes.keys() >= {*labels}]
    return read[0] if read and all(other == read[0] for other in read) else {}


@cache
def _codes() -> dict[str, dict[str, str]]:
    """The codes of each corpus, as they are written."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for _, row in rows(READY / f"{ALIASES}.csv", ("alias", "code"), []):
        if row.get("corpus"):
            found[row["corpus"]][row["alias"]] = row["code"]
    return found


def named_in(lines: Iterable[str], corpora: Iterable[str]) -> list[str]:
    """The lines of a text that name one of the corpora; of those whose names are not known, as users' tables, none.

    >>> text = ["trained with NVIDIA NeMo", "on nEMO", "an emodb_v2 split"]
    >>> named_in(text, ["nemo"]), named_in(text, ["own", "emodb"])
    (['on nEMO'], ['an emodb_v2 split'])
    """
    known = [f"{re.sub('[_.@]', '-', corpus.lower())}-" for corpus in corpora]
    names = "|".join(names for key, names in NAMED.items() if any(each.startswith(f"{key}-") for each in known))
    return [line for line in lines if names and re.search(rf"(?<![^\W_])(?:{names})(?![^\W_])", line)]
