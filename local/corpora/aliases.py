"""What labels and corpora are called elsewhere.

Labels of models and other people's files are words (angry, anger, Wut) or the codes of a corpus (`05` of RAVDESS, `W`
of EMO-DB). A word means the same wherever it stands. A code does not: `A` is fear in EMO-DB and anger in MSP-Podcast,
so codes are read only where all labels are codes of one corpus.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from local.corpora.labels import fold

# Words by the codes of our corpora; compared without case, blanks and underscores.
WORDS = {
    "ang": "ang anger angry angriness wut aerger ärger rabbia rab colère colere ira enfado złość",
    "dis": "dis disgust disgusted disgusting ekel disgusto dégoût degout asco wstręt",
    "fea": "fea fear fearful afraid scared angst paura pau peur miedo strach",
    "hap": "hap happy happiness joy joyful freude fröhlich gioia gio felicità joie alegría felicidad radość",
    "neu": "neu neutral neutrality neutrale neutralità neutre neutro neutralny",
    "sad": "sad sadness trauer traurig tristezza tri tristesse tristeza smutek",
    "sur": "sur surprise surprised ps pleasant_surprise pleasant_surprised überraschung sorpresa sor "
    "étonnement zaskoczenie",
    "cal": "cal calm calmness",
    "bor": "bor boredom bored langeweile",
    "con": "con contempt contemptuous",
    "exc": "exc excited excitement",
    "fru": "fru frustrated frustration",
    "amu": "amu amused amusement",
    "sle": "sle sleepy sleepiness",
    "iro": "iro irony ironic",
    "oth": "oth other",
}
# Codes by corpus; the case counts, and so does the zero.
CODES = {
    "EMO-DB": {"W": "ang", "L": "bor", "E": "dis", "A": "fea", "F": "hap", "T": "sad", "N": "neu"},
    "RAVDESS": {"01": "neu", "02": "cal", "03": "hap", "04": "sad", "05": "ang", "06": "fea", "07": "dis", "08": "sur"},
    "SAVEE": {"a": "ang", "d": "dis", "f": "fea", "h": "hap", "n": "neu", "sa": "sad", "su": "sur"},
    "MSP-Podcast": {"A": "ang", "S": "sad", "H": "hap", "U": "sur", "F": "fea", "D": "dis", "C": "con", "N": "neu"}
    | {"O": "oth"},
    "CaFE": {"C": "ang", "D": "dis", "J": "hap", "N": "neu", "P": "fea", "S": "sur", "T": "sad"},
}
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

_CODE_OF = {fold(word): code for code, words in WORDS.items() for word in words.split()}


def code_of(label: str) -> str | None:
    """Our code of a label that is a word; None where it is not known.

    >>> code_of("Angry"), code_of("pleasant surprise"), code_of("05")
    ('ang', 'sur', None)
    """
    return _CODE_OF.get(fold(label))


def codes_of(labels: Collection[str]) -> dict[str, str]:
    """Our codes of labels that are all codes of one corpus; none where they are of no corpus, or several differ.

    >>> codes_of(["W", "N"]), codes_of(["A", "N"])
    ({'W': 'ang', 'N': 'neu'}, {})
    """
    read = [{label: codes[label] for label in labels} for codes in CODES.values() if codes.keys() >= {*labels}]
    return read[0] if read and all(other == read[0] for other in read) else {}


def named_in(lines: Iterable[str], corpora: Iterable[str]) -> list[str]:
    """The lines of a text that name one of the corpora; of those whose names are not known, as users' tables, none.

    >>> text = ["trained with NVIDIA NeMo", "on nEMO", "an emodb_v2 split"]
    >>> named_in(text, ["nemo"]), named_in(text, ["own", "emodb"])
    (['on nEMO'], ['an emodb_v2 split'])
    """
    known = [f"{re.sub('[_.@]', '-', corpus.lower())}-" for corpus in corpora]
    names = "|".join(names for key, names in NAMED.items() if any(each.startswith(f"{key}-") for each in known))
    return [line for line in lines if names and re.search(rf"(?<![^\W_])(?:{names})(?![^\W_])", line)]
