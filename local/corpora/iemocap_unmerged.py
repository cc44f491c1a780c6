"""IEMOCAP without its excited turns, which are not merged into happy: 4,490 of the 5,531.

A corpus of its own, `iemocap-unmerged`, in every path and table; see `local.corpora.iemocap`.
"""

from local.corpora.iemocap import FACTS, Part, recording_fold

__all__ = ["ABOUT", "FACTS", "read", "recording_fold"]

PART = Part("iemocap-unmerged", {"ang": 1103, "hap": 595, "neu": 1708, "sad": 1084}, merged=False)
ABOUT, read = PART.about, PART.read
