"""nEMO: acted emotional speech in Polish (Christop, LREC-COLING 2024; CC BY-NC-SA 4.0).

The release (github.com/amu-cai/nEMO) is a folder with

- `data.tsv`: file_id, emotion, raw_text, normalized_text, speaker_id, gender, age; tab-separated,
  without quoting, some columns padded with blanks;
- `samples/<file_id>`: mono WAV at 24 kHz, named `<speaker>_<emotion>_<sentence>.wav`.

9 actors speak 90 sentences in anger, fear, happiness, neutral, sadness and surprise: 4,481
utterances, as some actors are incomplete. A selection of emotions, or another audio format in
file_id, is read as well. Every actor speaks every sentence, so in folds by speaker the sentences
of the test set are also in the training set, and word error rates are those of known sentences.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from local.core.errors import UserError
from local.corpora import About, Corpus, labels
from local.corpora.faults import Fault, raise_faults, rejected_rows
from local.corpora.manifest import COLUMNS
from local.corpora.release import unlisted
from local.corpora.rows import Row, gather, rows
from local.text.normalise import normalise

SOURCE = "nEMO, acted emotional speech in Polish (Christop 2024, CC BY-NC-SA 4.0)"
REQUIRED = ("file_id", "emotion", "normalized_text", "speaker_id", "gender")
EMOTIONS = {
    "anger": "ang",
    "fear": "fea",
    "happiness": "hap",
    "neutral": "neu",
    "sadness": "sad",
    "surprised": "sur",
}
GENDERS = {"female": "F", "male": "M"}
ABOUT = About(
    source=SOURCE,
    language="pl",
    licence="cc-by-nc-sa-4.0",
    facts="Nine actors in Polish; each speaks the same 90 sentences, in an emotion that was asked for.",
    terms="nEMO is under CC BY-NC-SA 4.0: name its author, no commercial use, share under the same terms. Whether "
    "weights are an adaptation of recordings is not settled; here they are treated as one.",
    labels={label: word for word, label in EMOTIONS.items()} | {"sur": "surprise"},
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine nEMO in the folder `data`; see `local.corpora`."""
    if data is None:
        raise UserError("corpus nemo needs its folder", "--data /path/to/nEMO")
    root = Path(data).resolve()
    path = root / "data.tsv"
    if not os.path.isfile(path):  # Path.is_file raises where it may not look
        raise UserError(f"{data} is not nEMO: it has no file data.tsv", "--data /path/to/nEMO")
    faults: list[Fault] = []
    broken: list[Row] = []
    records = rows(path, REQUIRED, faults, separators="\t", rejected=broken, quoting=csv.QUOTE_NONE)
    utterances = gather(path, records, _utterance, faults)
    words = [row["emotion"] for _, row in records] + labels.readable(broken, "emotion")
    left = [each["emo"] for each in utterances.values()]
    lost = labels.lost((EMOTIONS.get(word, "") for word in words), left)
    raise_faults("nemo", faults, partial, labels.remedy(lost, left))
    if not utterances:
        raise UserError(f"{path} lists no utterance that can be used", "--data /path/to/nEMO, with its samples")
    from local.core.typed_csv import frame  # pandas takes half a second to load

    table = frame(utterances.values(), COLUMNS)
    files = {f"samples/{row['file_id']}" for row in [*(row for _, row in records), *broken] if row.get("file_id")}
    notes = unlisted(root, "samples", files, path.name)
    faults, rejected = labels.lost_faults(path.name, lost) + faults, rejected_rows(faults)
    return Corpus("nemo", root, table, SOURCE, faults, rejected, notes=notes)


def _utterance(root: Path, row: Row) -> tuple[Row, list[str]]:
    """The columns of `local.corpora.manifest` of a row, and what is wrong with it."""
    wrong = [f"{column} is empty" for column in ("file_id", "speaker_id") if not row[column]]
    if row["emotion"] not in EMOTIONS:
        wrong.append(f"emotion {row['emotion']!r} is none of {', '.join(EMOTIONS)}")
    if row["gender"] not in GENDERS:
        wrong.append(f"gender {row['gender']!r} is neither female nor male")
    columns = {
        "ID": Path(row["file_id"]).stem,
        "wav": f"samples/{row['file_id']}" if row["file_id"] else "",
        "spk_id": row["speaker_id"],
        "gender": GENDERS.get(row["gender"], ""),
        "session": "",
        "recording": "",
        "style": "",
        "emo": EMOTIONS.get(row["emotion"], ""),
        "wrd": normalise(row["normalized_text"]),
    }
    return columns, wrong
