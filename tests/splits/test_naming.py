"""Names of protocols, and what is said of them."""

from __future__ import annotations

import pytest

from local.splits import naming


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("speaker", "4/4", 0.0), "of one speaker, who is not in the training or validation set"),
        (("session",), "each fold tests a whole session"),
        (("session", "4/4", 0.0), "a whole session, whose speakers are not in the training or validation set"),
        (("session", "0/4"), "a whole session; who speaks is unknown, so the training set may have speakers of"),
        (("session", "3/4"), "a whole session; who speaks is known for 3 of 4 utterances only, so the training set"),
        (("recording-hold_text", "4/4", 1.0), "whose speakers are also in the training set; only a third of the"),
        (("recording", "4/4", 0.0), "whole recordings, whose speakers are not in the training set"),
        (("recording", "4/4", 0.25), "recordings; the speakers of 25 % of the tested utterances are also in the"),
        (("recording", "4/4", 0.002), "recordings; the speakers of 0.2 % of the tested utterances are also in the"),
    ],
)
def test_what_is_said_of_speakers_is_what_is_known(given, words):
    assert words in naming.describe(*given)
