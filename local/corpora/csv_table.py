r"""Your own table: `--corpus csv --data /path/to/table.csv`, one utterance a row.

Lists in JSON lines (`.jsonl`, also NeMo's manifests), parquet, folders that the library `datasets` wrote, those of the
Hugging Face hub with parquet, and folders with metadata.csv or metadata.jsonl are read in the same way; parquet and
`datasets` need pyarrow (`pip install pyarrow`), and audio that they hold as bytes is written below manifests. A folder
for each emotion without any list is `--corpus folder`.

========== ==================================================================================
wav        audio file, absolute or relative to the folder of the table; any rate, number of
           channels and format that libsndfile reads
emo        emotion: letters, digits, `_` and `-`; a blank becomes `_`
ID         name of the utterance; by default the path of `wav` without suffix, with `-` for `/`
wrd        transcript, in any language and case
spk_id     who speaks; like the next two, of letters, digits, `_`, `.` and `-`, as folders are
           named after it
session    in which session
recording  from which recording (dialogue, broadcast) the utterance was cut
gender     `f`, `female`, `m` or `male`, in any case
style      `impro` or `script`
split      the official list that it is in: train, valid, test, test1, test2, ... in any case; also
           training, val, validation, dev, development, testing, eval, evaluation
valence    a number, on any scale; so are arousal and dominance. They are for heads of the multi-task
           system, as are the next and gender
votes      how many raters chose each label: `ang 3 neu 2`
========== ==================================================================================

`wav` and `emo` are required, the others may be missing or empty, further columns are not used. A row
without an emotion is a fault, but with `--extra-training all-turns` it trains what needs none. Columns that are called
otherwise: `--columns "wav=path emo=emotion spk_id=speaker"`.
Protocol `speaker` needs spk_id, `session` session, `recording` recording, `official` split; `random`
none of them. An utterance without a list is in no set of `official`; stage 0 notes how each word is
read, and refuses `eval` beside `test`, which may be either a validation or another test list.
UTF-8, with commas, semicolons, tabs or `|`, quoted as by spreadsheets, with or without Excel's
first line `sep=`. The labels are those in the table, each with at least two utterances. The name
of the corpus is that of the file without suffix.

Labels that differ in case, blanks and underscores only are one, in the spelling of most rows; one
with very few rows and almost the name of another is a fault, as it is probably a typing error. A
file beside the table, for own.csv own.labels, lists the labels that are meant as they are, one a line.

Names are compared as people read them: `ann` beside `Ann`, or 1 and 1.0 beside 01, are refused as
one in two spellings. A cell such as `nan` or NULL is the text that it is, with a warning. A file
is found in whichever Unicode form the disk has its name, and with `\` for `/`; one whose case
differs is named.

The transcript is normalised (`local.text.normalise`): noise tags are left out, punctuation becomes
a space (`either/or`, `3.5` and `U.S.` are two words each), a hyphen within a word goes. Case is
folded in the same way for all languages: in Turkish and Azeri, dotted and dotless i are both I.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import NAMES, About, Corpus, labels, lists, own_name
from local.corpora.columns import option, other_names, proposal
from local.corpora.faults import Fault, raise_faults, rejected_rows
from local.corpora.jsonl import refuse_parts
from local.corpora.manifest import COLUMNS, FURTHER
from local.corpora.own import Form, Listed, is_tree
from local.corpora.own import read as read_listed
from local.corpora.own_columns import (
    FOLDERS,
    NAMED,
    NO_EMOTION,
    OPTIONAL,
    REQUIRED,
    SEPARATORS,
    can_be_folder,
    nfc,
    utterance,
)
from local.corpora.rows import NOT_UTF8, Row, as_utf8, gather

MISSING_EMOTION = "remove the row, or leave the cell empty for --extra-training all-turns"
LISTED = ".labels"  # in place of the table's suffix: the file with labels that are meant as they are
ABOUT = About(
    source="a table of the user's own",
    language=None,
    licence="of-the-data-owner",
    facts="Only who made the table knows what it holds: describe it here before you pass the model on.",
    terms="The owner of the recordings and the people who speak in them decide what may be done with a model that was "
    "trained on them. Ask before you pass the model on.",
    labels={  # where a table uses these names
        **{"ang": "anger", "dis": "disgust", "exc": "excitement", "fea": "fear", "fru": "frustration"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def read(
    data: Path | None,
    partial: bool = False,
    columns: Mapping[str, str] | None = None,
    store: Path | None = None,
    unlabelled: bool = False,
) -> Corpus:
    """Examine the data at `data` and the audio files that it lists; see `local.corpora`.

    `columns` are the names that the user gives for ours. Audio that is in a table as bytes goes to `store`, or else to
    a folder `audio` beside it. With `unlabelled` a row may lack its emotion: such utterances are the corpus's `extra`.
    """
    path = _locate(data)
    faults: list[Fault] = []
    broken: list[Row] = []
    form = Form(REQUIRED, NAMED, columns or {}, SEPARATORS)
    listed = read_listed(path, form, faults, broken, store or path.parent / "audio")
    return examined(path, listed, faults, broken, partial, form.given, unlabelled)


def _hint(name: str, faults: list[Fault], parts: bool) -> str:
    """How to mend what faults of a table have in common; `parts` says that rows name one file."""
    reasons = [fault.reason for fault in faults]
    hints = {
        f"a label that is right as it is: put it on a line of {name}{LISTED} beside the data": any(
            "did you mean" in reason for reason in reasons
        ),
        "utterances without an emotion may train what needs none: --extra-training all-turns": NO_EMOTION in reasons,
        f"where no emotion is known: {MISSING_EMOTION}": any(reason.endswith(labels.AS_MISSING) for reason in reasons),
        "an utterance is a whole file: cut those of a longer recording out, each into a file of its own": parts,
        f"text: {as_utf8('WINDOWS-1252')}": any(reason.endswith(NOT_UTF8) for reason in reasons),
    }
    return "".join(f" ({hint})" for hint, applies in hints.items() if applies)


def examined(
    path: Path,
    listed: Listed,
    faults: list[Fault],
    broken: list[Row],
    partial: bool,
    given: Mapping[str, str],
    unlabelled: bool = False,
) -> Corpus:
    """Examine the rows of the user's data at `path` and their audio files.

    `faults` are those that are known, `broken` the rows that they have left out; `given` are the columns of `read`, for
    which see `unlabelled`.
    """
    name, records = own_name(path), listed.records
    meant = _read_listed(path.parent / (name + LISTED))
    spelled, notes = labels.one_spelling([nfc(row["emo"]) for _, row in records], meant)
    of_lists, read_as = lists.read(row.get(lists.COLUMN, "") for _, row in records)
    for _, row in records:
        row["emo"] = spelled.get(nfc(row["emo"]), "")
        row |= {lists.COLUMN: of_lists.get(word, word)} if (word := row.get(lists.COLUMN)) else {}
    found: list[Fault] = []
    required = [column for column in REQUIRED if column != "emo" or not unlabelled]
    utterances = gather(listed.where, records, functools.partial(utterance, required), found)
    if unlabelled and partial:  # the table is the same as without them, and so is what it lacks
        found = _with_no_emotion(found, records, utterances, path.name)
    if listed.is_nemo:
        refuse_parts(path.name, records, utterances, found)
    rare = labels.rare_faults(path.name, records, utterances, meant)
    words = labels.readable([*(row for _, row in records), *broken], "emo")
    left = [each["emo"] for each in utterances.values()]
    lost = labels.lost((spelled.get(emo, emo) for emo in words), left)
    files = [row["wav"] for _, row in records if row["wav"]]
    hint = _hint(name, [*faults, *found, *rare], parts=len({*files}) < len(files))
    rejected = rejected_rows(faults) + rejected_rows(found + rare)
    faults = faults + [listed.placed(fault) for fault in found + rare]
    raise_faults(name, faults, partial, labels.remedy(lost, left, hint))
    faults = labels.lost_faults(path.name, lost) + faults
    from local.core.typed_csv import frame  # pandas takes half a second to load

    further = [name for name in FURTHER if name in OPTIONAL and any(each[name] for each in utterances.values())]
    whole = frame(utterances.values(), [*COLUMNS, *further])
    table, extra = (whole[is_in].reset_index(drop=True) for is_in in (whole["emo"] != "", whole["emo"] == ""))
    if table["emo"].nunique() < 2:
        has = f"only one emotion, {table['emo'].iloc[0]!r}," if len(table) else "no utterance"
        raise UserError(
            f"{path} has {has} that can be used", "give two emotions or more, each of two utterances or more"
        )
    used = [row for line, row in records if line in utterances]
    unused = sorted({column for row in used for column in row if column} - {*REQUIRED, *OPTIONAL})
    what = "folder" if path.is_dir() else "table"
    source = f"own {what} {path.name}" + (f" (columns not used: {', '.join(unused)})" if unused else "")
    strange = [f"{name}{LISTED} lists {label!r}, which no row has" for label in sorted(meant - set(spelled.values()))]
    warnings = strange + _warnings(used, given)
    renamed = other_names(used[0], NAMED)
    said = [*listed.notes, *notes, *read_as]
    extra = extra if unlabelled else None
    return Corpus(name, listed.where.parent, table, source, faults, rejected, warnings, renamed, said, extra=extra)


def _with_no_emotion(
    found: Iterable[Fault], records: Iterable[tuple[int, Row]], utterances: Mapping[int, dict], file: str
) -> list[Fault]:
    """The faults of rows and, where they would be otherwise, those of rows without an emotion."""
    by_line: dict[int, list[Fault]] = {}
    for fault in found:
        by_line.setdefault(fault.line, []).append(fault)
    whole = []
    for line, row in records:
        own = by_line.get(line, [])
        if not row["emo"]:
            name = own[0].ID if own else utterances[line]["ID"]
            own.insert(bool(own) and own[0].reason == "wav is empty", Fault(file, line, name, NO_EMOTION))
        whole += own
    return whole


def _read_listed(path: Path) -> set[str]:
    """The labels that a file beside the table lists, a line each; none without such a file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return set()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "save it as text in UTF-8, a label on each line") from None
    return {nfc(line.strip()) for line in lines} - {""}


def _warnings(used: list[Row], given: Mapping[str, str]) -> list[str]:
    """What in the rows that are used may not be meant: words for a missing value, columns under other names."""
    warnings = []
    for column in ("emo", "wrd", *FOLDERS, "ID"):
        found = Counter(row[column] for row in used if labels.is_missing(row.get(column, "")))
        remedy = "if it is one, " + (MISSING_EMOTION if column == "emo" else "leave the cell empty")
        warnings += [
            f"{column} {value!r} ({counted(n, 'utterance')}) {labels.AS_MISSING}; {remedy}"
            for value, n in sorted(found.items())
        ]
    others = other_names(used[0], NAMED)
    if others:
        listed = ", ".join(f"{name!r} (the {here}?)" for name, here in others.items())
        pairs = option(proposal(used[0], NAMED, given))
        warnings.append(f"not used: column{'s' if len(others) > 1 else ''} {listed}; to use what you mean: {pairs}")
    return warnings


def _locate(data: Path | None) -> Path:
    """The absolute path of the table or folder, whose name can be used in paths."""
    if data is None:
        raise UserError("corpus csv needs a table", "--data /path/to/table.csv")
    path = Path(data).absolute()
    path = path.parent.resolve() / path.name  # a `..` behind a link leads out of the link's target
    if not os.path.isfile(path) and not os.path.isdir(path):  # Path's own raise where they may not look
        raise UserError(f"there is no table {data}", "--data /path/to/table.csv")
    if is_tree(path):
        raise UserError(
            f"{data} has no table of its utterances", "of a folder for each emotion: --corpus folder --data ROOT"
        )
    refuse_name(path)
    return path


def refuse_name(path: Path) -> None:
    """Raise a UserError for a file or folder after which no corpus can be named."""
    if (name := own_name(path)).lower() in NAMES or not can_be_folder(name):
        raise UserError(
            f"{path}: {name!r} cannot be the name of a corpus of your own",
            f"rename it: letters, digits, _ . and -, and none of {', '.join(NAMES)}",
        )
