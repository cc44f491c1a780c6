"""IEMOCAP: ten actors in five sessions of two, improvising and playing scenes.

Busso et al.: IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and
Evaluation 42 (2008). Request it at https://sail.usc.edu/iemocap/; the folder is IEMOCAP_full_release.

Of its 10,039 turns the 5,531 are used that are labelled angry, happy, excited (merged into happy),
neutral or sad; the others may train what needs no emotion (`--extra-training all-turns`). The raters' votes, and their
means of valence, activation (column `arousal`) and dominance from 1 to 5, are in the table, and what each of them gave.
See `local.corpora.iemocap_release` for the layout of the release and its traps.
Some papers use a `Part` of these turns, which is a corpus of its own here, of the same release and folds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.corpora import About, Corpus, labels
from local.corpora.faults import Fault, raise_faults
from local.corpora.iemocap_ratings import LEAST, MOST
from local.corpora.iemocap_release import EMOTION, Turn, examine, session_folders
from local.corpora.manifest import COLUMNS, DATA_ROOT, RATED
from local.corpora.names import Disk
from local.text.normalise import ENGLISH, dropped, normalise

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Facts:
    """How many turns a whole release has; None or an empty mapping is not compared."""

    name: str
    source: str  # one line on what the corpus is
    n_turns: int | None = None  # of any label; the others count the turns that are used
    emotions: Mapping[str, int] = field(default_factory=dict)  # by emotion; `hap` includes `exc`
    sessions: Mapping[str, int] = field(default_factory=dict)  # `Ses01`
    speakers: Mapping[str, int] = field(default_factory=dict)  # `01F`
    styles: Mapping[str, int] = field(default_factory=dict)  # `impro`, `script`
    folds: Mapping[str, int] = field(default_factory=dict)  # of protocol `recording`: `01F`
    merged: Mapping[str, int] = field(default_factory=dict)  # by label before merging: `hap`, `exc`
    emotion_styles: Mapping[str, int] = field(default_factory=dict)  # `ang impro`


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
WHO = "Ten actors in five sessions, in English, improvising and playing scenes; labels are a vote of listeners"
ABOUT = About(
    source=FACTS.source,
    language="en",
    licence="iemocap-release-agreement",
    facts=f"{WHO}, and `exc` (excitement) counts as `hap`.",
    terms="IEMOCAP is given for research, under an agreement with its owners (https://sail.usc.edu/iemocap/). These "
    "weights are derived from it: use them and pass them on only as your own agreement allows.",
    labels={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
)

GIVE_ROOT = "give the folder that holds Session1 to Session5: --data /path/to/IEMOCAP_full_release"


@dataclass(frozen=True)
class Part:
    """The turns of a release that some papers use; it offers what the file of a corpus does."""

    name: str
    emotions: Mapping[str, int]  # how many turns it has, by emotion
    improvised: bool = False  # scripted turns are left out
    merged: bool = True  # `exc` counts as `hap`; else these turns are left out

    @property
    def words(self) -> str:
        """What is used of the release."""
        which = "improvised turns only" if self.improvised else "improvised and scripted turns"
        return f"{which}, excited ones {'merged into happy' if self.merged else 'left out'}"

    @property
    def about(self) -> About:
        """What a model card says of it."""
        return replace(ABOUT, source=self.source, facts=f"{WHO}. Used are {self.words}.")

    @property
    def source(self) -> str:
        """One line on what it is."""
        total = sum(self.emotions.values())
        return f"IEMOCAP (Busso et al. 2008), {self.words}: {total:,} of 10,039: angry, happy, neutral, sad"

    def read(self, data: Path | None, partial: bool = False) -> Corpus:
        """Examine the whole release, as `read` of the module does, and return the turns of this part."""
        return read(data, partial, self)

    def select(self, utterances: pd.DataFrame) -> pd.DataFrame:
        """A table as from `_utterances`, where those that are not of the part have no emotion."""
        scripted, excited = utterances["style"] == "script", utterances["label"] == "exc"
        outside = (scripted & self.improvised) | (excited & (not self.merged))
        return utterances.assign(emo=utterances["emo"].mask(outside, ""))


def read(data: Path | None, partial: bool = False, part: Part | None = None) -> Corpus:
    """Examine IEMOCAP_full_release at `data`, or where the environment variable IEMOCAP says; see `read_release`."""
    root = data or os.environ.get("IEMOCAP")
    if not root:
        raise UserError(
            "corpus iemocap needs its folder",
            f"{GIVE_ROOT}, or set it once: export IEMOCAP=/path/to/IEMOCAP_full_release",
        )
    return read_release(Path(root), FACTS, partial, part)


def recording_fold(recording: str) -> str:
    """Name the fold in which a dialogue is tested: that of the actor who wears the markers; both actors speak in it.

    >>> recording_fold("Ses03M_impro05a")
    '03M'
    """
    return recording[3:6]


def read_release(root: Path, facts: Facts, partial: bool, part: Part | None = None) -> Corpus:
    """Examine a release in IEMOCAP's shape, compare it with the facts, and return its utterances, or those of a part.

    Of a part, too, the whole release is examined and compared, and then its own counts. All other turns are the
    corpus's `extra`. With `partial`, utterances whose audio is missing or broken are left out, and those without a
    transcript line have an empty one. Otherwise a `UserError` names all that is missing, broken or not as in the facts;
    in any case one is raised if `root` is not a release or has no utterance at all.
    """
    root = Path(os.path.abspath(root.expanduser()))
    _expect_release(root)
    turns, faults, warnings = examine(root, facts.sessions)
    utterances = _utterances(turns, EMOTION if part is None or part.merged else {})
    faults += _count_faults(utterances, facts)
    if part is not None:
        utterances, facts = part.select(utterances), Facts(part.name, part.source, emotions=part.emotions)
        faults += _count_faults(utterances, facts)
    used = utterances[utterances["emo"] != ""]
    whole = utterances[utterances["duration"].notna()].reset_index(drop=True)
    rated = [name for name in RATED if (whole[name] != "").any()]
    table = whole.loc[whole["emo"] != "", [*COLUMNS, *rated]].reset_index(drop=True)
    extra = whole[whole["emo"] == ""].reset_index(drop=True)
    lost = labels.lost(used["emo"], table["emo"])
    raise_faults(f"{facts.name} in {root}", faults, partial, labels.remedy(lost, table["emo"]))
    if table.empty:
        why = "; ".join(map(str, faults[:3])) or "no turn is labelled ang, hap, exc, neu or sad"
        raise UserError(f"no utterance of {root} can be used: {why}", "unpack the release again")
    expected = sum(facts.emotions.values()) or len(used)
    rejected = max(0, expected - len(table))
    faults = labels.lost_faults("", lost) + faults
    warnings += _dropped(turns, set(used["ID"])) + _off_scale(turns)
    return Corpus(facts.name, root, table, facts.source, faults, rejected, warnings, extra=extra)


def _off_scale(turns: list[Turn]) -> list[str]:
    """Say what raters wrote that their form does not have."""
    found = {turn.name: values for turn in turns if (values := [*turn.ratings.off_scale()])}
    if not found:
        return []
    name, values = next(iter(found.items()))
    count = sum(map(len, found.values()))
    return [f"{count} values of raters are not from {LEAST} to {MOST}, as {values[0]:g} in {name}: they are left out"]


def _dropped(turns: list[Turn], used: set[str]) -> list[str]:
    """Say what the transcripts that are used lose because the alphabet lacks it: digits, letters with accents."""
    lost = {turn.name: found for turn in turns if turn.name in used and (found := dropped(turn.text, ENGLISH))}
    if not lost:
        return []
    name, found = next(iter(lost.items()))
    return [
        f"{sum(map(len, lost.values()))} digits and letters other than A to Z, in {len(lost)} of the transcripts, "
        f"are left out: {found!r} in {name}" + (", ..." if len(lost) > 1 else "")
    ]


def _expect_release(root: Path) -> None:
    """Raise a UserError, which suggests the right folder if it is near, unless `root` holds sessions."""
    try:
        if root.is_file():
            raise UserError(f"{root} is a file, not the folder of the release", f"unpack it, and {GIVE_ROOT}")
        if session_folders(root):
            return
        near = [*root.parents, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}", GIVE_ROOT) from None
    likely = next((folder for folder in near if os.access(folder, os.R_OK) and session_folders(folder)), None)
    raise UserError(
        f"{root} is not the release: there is no folder Session1 in it{Disk(root).other_case('Session1')}",
        f"give the folder that holds the sessions: --data {likely}" if likely else GIVE_ROOT,
    )


def _utterances(turns: list[Turn], merged: Mapping[str, str]) -> pd.DataFrame:
    """The columns of `local.corpora.manifest` of all turns, and `label`; `emo` is empty for turns that are not used.

    `merged` says as which label one is voted for, where it is another.
    """
    rows = []
    for turn in turns:
        recording, _, place = turn.name.rpartition("_")
        rows.append(
            {
                "ID": turn.name,
                "duration": turn.duration and round(turn.duration, 6),
                "wav": f"{DATA_ROOT}/{turn.wav}",
                "spk_id": recording[3:5] + place[0],
                "gender": place[0],
                "session": recording[:5],
                "recording": recording,
                "style": "impro" if "_impro" in recording else "script",
                "emo": EMOTION.get(turn.label, ""),
                "wrd": normalise(turn.text, ENGLISH),
                "label": turn.label,
                "votes": turn.ratings.votes(merged),
                **turn.ratings.means(),
                "ratings": turn.ratings.by_rater(),
            }
        )
    from local.core.typed_csv import frame  # pandas takes half a second to load

    return frame(rows, [*COLUMNS, "label", *RATED])


def _count_faults(utterances: pd.DataFrame, facts: Facts) -> list[Fault]:
    """Name every count that differs from the facts.

    Turns are counted by label, with or without audio: a missing wav is one fault, not one in every count.
    """
    used = utterances[utterances["emo"] != ""]
    counts = (
        ("all labels", [""] * len(utterances), {} if facts.n_turns is None else {"": facts.n_turns}),
        ("emotion ", used["emo"], facts.emotions),
        ("label ", used["label"][used["label"].isin(facts.merged.keys())], facts.merged),
        ("session ", used["session"], facts.sessions),
        ("speaker ", used["spk_id"], facts.speakers),
        ("recordings of ", used["recording"].map(recording_fold), facts.folds),
        ("style ", used["style"], facts.styles),
        ("emotion and style ", used["emo"] + " " + used["style"], facts.emotion_styles),
    )
    faults = []
    for what, values, expected in counts:
        found = Counter(values)
        for key in sorted({*found, *expected} if expected else ()):
            if found[key] != expected.get(key, 0):
                faults.append(Fault("", None, "", f"{what}{key}: {found[key]} turns, {expected.get(key, 0)} expected"))
    return faults
