"""IEMOCAP's improvised turns without the excited ones: 2,280 of the 5,531, as in Wu et al. (2019).

A corpus of its own, `iemocap-improvised-unmerged`, in every path and table; see `local.corpora.iemocap`.
"""

from local.corpora.iemocap import FACTS, Part, recording_fold

__all__ = ["ABOUT", "FACTS", "read", "recording_fold"]

PART = Part(
    "iemocap-improvised-unmerged", {"ang": 289, "hap": 284, "neu": 1099, "sad": 608}, improvised=True, merged=False
)
ABOUT, read = PART.about, PART.read
