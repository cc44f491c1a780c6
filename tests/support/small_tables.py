"""Tables of utterances worked by hand, and the sizes of IEMOCAP's test sets."""

from __future__ import annotations

import pandas as pd

ACTORS = ["01F", "01M", "02F", "02M", "03F", "03M", "04F", "04M", "05F", "05M"]
SESSIONS = ["Ses01", "Ses02", "Ses03", "Ses04", "Ses05"]
TEST_SIZES = {
    "recording": dict(zip(ACTORS, (507, 578, 505, 518, 536, 615, 553, 478, 644, 597), strict=True)),
    "speaker": dict(zip(ACTORS, (528, 557, 481, 542, 522, 629, 528, 503, 590, 651), strict=True)),
    "session": dict(zip(SESSIONS, (1085, 1023, 1151, 1031, 1241), strict=True)),
}


def toy(spk_id: str = "", session: str = "", recording: str = "") -> pd.DataFrame:
    """A table of utterances u0, u1, ...: one letter each for speaker, session and recording, or none."""
    size = max(len(spk_id), len(session), len(recording))
    columns = {"spk_id": spk_id, "session": session, "recording": recording}
    columns = {name: list(letters.replace("-", " ") or " " * size) for name, letters in columns.items()}
    table = pd.DataFrame({"ID": [f"u{i}" for i in range(size)]} | columns)
    return table.replace(" ", "")


def spoken(sentences: str, speakers: str = "AB") -> pd.DataFrame:
    """Every speaker says every sentence, a letter each (`-`: none); sorted by ID."""
    rows = [(f"{who}{place}", who, text.strip("-")) for who in speakers for place, text in enumerate(sentences)]
    return pd.DataFrame(rows, columns=["ID", "spk_id", "wrd"]).assign(session="", recording="", style="")
