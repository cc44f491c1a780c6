"""IEMOCAP: ten actors in five sessions of two, improvising and playing scenes.

Busso et al.: IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and
Evaluation 42 (2008). To be asked for at https://sail.usc.edu/iemocap/; the folder is IEMOCAP_full_release.

Used are the 5,531 of its 10,039 turns that are labelled angry, happy, excited (merged into happy),
neutral or sad. How the release is laid out, and its traps, stands in `local.corpora.iemocap_release`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from local.core.errors import UserError
from local.corpora import About, Corpus
from local.corpora.faults import Fault, raise_faults
from local.corpora.iemocap_release import Turn, examine, session_folders
from local.corpora.manifest import COLUMNS, DATA_ROOT
from local.text.normalise import ENGLISH, normalise


@dataclass(frozen=True)
class Facts:
    """How many turns a sound release has; what is None or empty is not compared.

    Attributes
    ----------
    name
        Name of the corpus.
    source
        One line on what it is.
    n_turns
        All turns, whatever their label.
    emotions, sessions, speakers, styles, folds
        Turns used, by emotion (`hap` includes `exc`), session (`Ses01`), speaker (`01F`), style
        (`impro`, `script`) and fold of the protocol `recording` (`01F`).
    merged
        Turns by label before merging: `hap` and `exc`.
    emotion_styles
        Turns used, by emotion and style: `ang impro`.
    """

    name: str
    source: str
    n_turns: int | None = None
    emotions: Mapping[str, int] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    speakers: Mapping[str, int] = field(default_factory=dict)
    styles: Mapping[str, int] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    merged: Mapping[str, int] = field(default_factory=dict)
    emotion_styles: Mapping[str, int] = field(default_factory=dict)


ACTORS = ("01F", "01M", "02F", "02M", "03F", "03M", "04F", "04M", "05F", "05M")
FACTS = Facts(
    name="iemocap",
    source="IEMOCAP (Busso et al. 2008): 5,531 of 10,039 turns: angry, happy or excited, neutral, sad",
    n_turns=10_039,
    emotions={"ang": 1103, "hap": 1636, "neu": 1708, "sad": 1084},
    sessions={"Ses01": 1085, "Ses02": 1023, "Ses03": 1151, "Ses04": 1031, "Ses05": 1241},
    speakers=dict(zip(ACTORS, (528, 557, 481, 542, 522, 629, 528, 503, 590, 651), strict=True)),
    styles={"impro": 2943, "script": 2588},
    folds=dict(zip(ACTORS, (507, 578, 505, 518, 536, 615, 553, 478, 644, 597), strict=True)),
    merged={"hap": 595, "exc": 1041},
    emotion_styles={
        "ang impro": 289,
        "ang script": 814,
        "hap impro": 947,
        "hap script": 689,
        "neu impro": 1099,
        "neu script": 609,
        "sad impro": 608,
        "sad script": 476,
    },
)
ABOUT = About(
    source=FACTS.source,
    language="en",
    licence="iemocap-release-agreement",
    facts="Ten actors in five sessions, in English, improvising and playing scenes; labels are a vote of listeners, "
    "and `exc` (excitement) counts as `hap`.",
    terms="IEMOCAP is given for research, under an agreement with its owners (https://sail.usc.edu/iemocap/). These "
    "weights are derived from it: use them and pass them on only as your own agreement allows.",
    labels={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
)

IN_WORDS = {"ang": "angry", "hap": "happy", "neu": "neutral", "sad": "sad", "impro": "improvised", "script": "scripted"}
GIVE_ROOT = "give the folder that holds Session1 to Session5: --data /path/to/IEMOCAP_full_release"


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine IEMOCAP_full_release and return its utterances.

    Parameters
    ----------
    data
        The release folder; None takes the environment variable IEMOCAP.
    partial
        Go on with what is there if the release is not whole, and say so in `Corpus.faults`.

    Raises
    ------
    UserError
        There is no release at `data`, or, unless `partial`, it is not whole and sound.
    """
    where = data or os.environ.get("IEMOCAP")
    if not where:
        raise UserError(
            "it is not known where IEMOCAP is",
            f"{GIVE_ROOT}, or set it once for all: export IEMOCAP=/path/to/IEMOCAP_full_release",
        )
    return read_release(Path(where), FACTS, partial)


def recording_fold(recording: str) -> str:
    """Name the fold in which a dialogue is tested: that of the actor who wears the markers.

    That actor is not the one speaker of the dialogue; both speak in it.

    >>> recording_fold("Ses03M_impro05a")
    '03M'
    """
    return recording[3:6]


def read_release(root: Path, facts: Facts, partial: bool) -> Corpus:
    """Examine a release in IEMOCAP's shape, compare it with the facts, and return its utterances.

    With `partial`, utterances without sound audio are left out, and those without a transcript line
    have an empty one.

    Raises
    ------
    UserError
        `root` is not a release or has no utterance at all; or, unless `partial`, anything is missing,
        broken or other than the facts say. The message names all of it.
    """
    root = Path(os.path.abspath(root.expanduser()))
    _expect_release(root)
    turns, faults = examine(root, facts.sessions)
    faults += _count_faults(turns, facts)
    table = _table(turns)
    raise_faults(f"{facts.name} in {root}", faults, partial)
    if table.empty:
        why = "; ".join(map(str, faults[:3])) or "no turn is labelled ang, hap, exc, neu or sad"
        raise UserError(f"no utterance of {root} can be used: {why}", "unpack the release anew")
    whole = sum(facts.emotions.values()) or sum(turn.emotion is not None for turn in turns)
    return Corpus(facts.name, root, table, facts.source, faults, rejected=max(0, whole - len(table)))


def _expect_release(root: Path) -> None:
    """Raise a UserError, with the likely right folder in its remedy, unless `root` holds sessions."""
    try:
        if root.is_file():
            raise UserError(f"{root} is a file, not the folder of the release", f"unpack it, and {GIVE_ROOT}")
        if session_folders(root):
            return
        near = [*root.parents, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    except OSError as error:  # absent, or not to be read
        raise UserError(f"{root}: {error.strerror}", GIVE_ROOT) from None
    likely = next((folder for folder in near if os.access(folder, os.R_OK) and session_folders(folder)), None)
    raise UserError(
        f"{root} is not the release: there is no folder Session1 in it",
        f"give the folder that holds the sessions: --data {likely}" if likely else GIVE_ROOT,
    )


def _count_faults(turns: list[Turn], facts: Facts) -> list[Fault]:
    """Name every count that differs from the facts.

    Turns are counted as they are labelled, with or without audio: a wav that is missing is named once,
    as that, and not again in every count that it would enter.
    """
    used = [turn for turn in turns if turn.emotion]
    folds = (recording_fold(turn.dialogue) for turn in used)
    counts = (
        ("all labels", Counter({"": len(turns)}), {} if facts.n_turns is None else {"": facts.n_turns}),
        ("", Counter(turn.emotion for turn in used), facts.emotions),
        ("label ", Counter(turn.label for turn in used if turn.label in facts.merged), facts.merged),
        ("session ", Counter(turn.session for turn in used), facts.sessions),
        ("speaker ", Counter(turn.speaker for turn in used), facts.speakers),
        ("recordings of ", Counter(folds), facts.folds),
        ("", Counter(turn.style for turn in used), facts.styles),
        ("", Counter(f"{turn.emotion} {turn.style}" for turn in used), facts.emotion_styles),
    )
    return [
        Fault("", None, "", f"{what}{_in_words(key)}: {found[key]} turns, the release has {expected.get(key, 0)}")
        for what, found, expected in counts
        for key in sorted({*found, *expected} if expected else ())
        if found[key] != expected.get(key, 0)
    ]


def _in_words(key: str) -> str:
    """Spell emotion and style out: `ang impro` is angry improvised."""
    return " ".join(IN_WORDS.get(part, part) for part in key.split())


def _table(turns: list[Turn]) -> pd.DataFrame:
    """Make the table of utterances of the turns that are used and have sound audio."""
    rows = [
        (
            turn.name,
            round(turn.duration, 6),
            f"{DATA_ROOT}/{turn.wav}",
            turn.speaker,
            turn.gender,
            turn.session,
            turn.dialogue,
            turn.style,
            turn.emotion,
            normalise(turn.text, ENGLISH),
        )
        for turn in turns
        if turn.emotion and turn.duration is not None
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
