"""The audio of a test set under distortion, made when it is read: `distorted[ID]`, as of `AudioStore`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from local.audio.distortions import distort, seed_of
from local.core.conditions import Case

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

TALKERS = 5  # in babble


class Talkers:
    """Whom babble is made of: the speakers of a training set, never the one that is tested.

    Parameters
    ----------
    table
        The training set. Where it does not say who speaks, each utterance is taken for a speaker's only one.
    audio
        Samples by ID, of the corpus that was trained on.
    """

    def __init__(self, table: pd.DataFrame, audio: Mapping[str, Tensor]) -> None:
        self.audio = audio
        self.utterances: dict[str, list[str]] = {}
        for name, speaker in zip(table["ID"], table["spk_id"], strict=True):
            if name in audio:  # a file may be unsound
                self.utterances.setdefault(speaker or f"\t{name}", []).append(name)

    def others(self, speaker: str) -> list[str]:
        """The speakers but one."""
        return [each for each in self.utterances if each != speaker]

    def drawn(self, speaker: str, seed: int) -> list[str]:
        """The IDs of `TALKERS` utterances, each of another speaker where there are so many; none of `speaker`."""
        chance, others = np.random.default_rng(seed), self.others(speaker)
        few = len(others) < TALKERS
        of = chance.choice(len(others), TALKERS, replace=few)
        return [str(chance.choice(self.utterances[others[place]])) for place in of]


class Distorted(Mapping[str, "Tensor"]):
    """The samples of utterances in a case, by ID: [N'] float at 16 kHz.

    Parameters
    ----------
    audio
        Samples by ID.
    case
        What is done to them.
    speakers
        The speaker of each utterance, or an empty text; for babble.
    talkers
        Who babbles; None in other cases.
    most
        Samples that the system reads at most, or None: of what becomes longer the end is cut off.
    """

    def __init__(
        self,
        audio: Mapping[str, Tensor],
        case: Case,
        speakers: Mapping[str, str],
        talkers: Talkers | None = None,
        most: int | None = None,
    ) -> None:
        self.audio, self.case, self.speakers, self.talkers, self.most = audio, case, speakers, talkers, most

    def __getitem__(self, name: str) -> Tensor:
        seed, behind = seed_of(name, self.case), []
        if self.case.condition == "babble":
            behind = [self.talkers.audio[each] for each in self.talkers.drawn(self.speakers[name], seed)]
        return distort(self.audio[name], self.case, seed, behind)[: self.most]

    def __iter__(self) -> Iterator[str]:
        return iter(self.audio)

    def __len__(self) -> int:
        return len(self.audio)
