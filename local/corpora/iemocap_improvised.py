"""IEMOCAP's improvised turns: 2,943 of the 5,531. Excited ones are merged into happy.

A corpus of its own, `iemocap-improvised`, in every path and table; see `local.corpora.iemocap`.
"""

from local.corpora.iemocap import FACTS, Part, recording_fold

__all__ = ["ABOUT", "FACTS", "read", "recording_fold"]

PART = Part("iemocap-improvised", {"ang": 289, "hap": 947, "neu": 1099, "sad": 608}, improvised=True)
ABOUT, read = PART.about, PART.read
