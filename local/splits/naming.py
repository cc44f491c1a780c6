"""How protocols and validations are named, in paths and on tables, and what is said of them.

A name tells what a reader has to know before a figure: whether text is held out, and whether it is optimistic.
"""

from __future__ import annotations

from local.splits.checks import ORACLE

WORDS = {
    "recording": "each fold tests whole recordings",
    "speaker": "each fold tests all utterances of one speaker, who is not in the training or validation set",
    "session": "each fold tests a whole session",
    "official": "trained on the corpus's own training list, each fold tests one of its test lists",
    "corpus": "trained on the other corpora, each fold tests a whole corpus",
    "random": "each fold tests a random share of the utterances of each emotion, whoever speaks",
}
VALID_WORDS = {
    "partner": "another speaker (of the same session, where there are sessions) chooses the epoch",
    "recordings": "whole recordings held out of the training set, about 10 % of it, choose the epoch",
    "speakers": "whole speakers held out of the training set, about 10 % of each corpus in it, choose the epoch",
    "utterances": "single utterances held out of the training set, about 10 % of each emotion, choose the epoch",
    "list": "the corpus's own validation list chooses the epoch",
    "none": "nothing is held out: the last epoch is taken",
    "oracle": "the test set itself chooses the epoch",
}
EXTRA_WORDS = {"all-turns": "utterances without one of the emotions train what needs none, and are in no other set"}
DEFAULT, RANDOM, OFFICIAL, CORPUS = "speaker", "random", "official", "corpus"
OF_ORACLE = f"-valid_{ORACLE}"  # behind the name of a protocol, so that no folder holds runs with and without it
OPTIMISTIC = "-OPTIMISTIC"  # behind the name of protocol `random` and of any with oracle, in paths and on tables
OPTIMISTIC_WORDS = (
    "OPTIMISTIC: the speakers and recordings that are tested are probably in the training set as well; expect lower "
    "figures on other speakers"
)
ORACLE_WORDS = (
    "OPTIMISTIC: the epoch is the best of all on the test set itself; expect lower figures on utterances that did not "
    "choose it"
)
TESTED = "from_"  # before the corpus on which models were trained that are tested on another
HOLD_TEXT = "-hold_text"  # behind the name of a protocol whose folds hold text out
HOLD_TEXT_WORDS = "only a third of the transcripts is tested, and these are in no other set"


def path_name(protocol: str, text_held: bool, valid: str = "") -> str:
    """The name of a protocol in paths and on tables; of the validations only oracle is in it.

    >>> path_name("speaker", False), path_name("random", True), path_name("speaker", True, "oracle")
    ('speaker', 'random-OPTIMISTIC-hold_text', 'speaker-valid_oracle-OPTIMISTIC-hold_text')
    """
    is_oracle = valid == ORACLE
    mark = OPTIMISTIC if is_oracle or protocol == RANDOM else ""
    return protocol + (OF_ORACLE if is_oracle else "") + mark + (HOLD_TEXT if text_held else "")


def name_of_tested(corpus: str, protocol: str) -> str:
    """In place of a protocol's name: that of models tested on another corpus than they were trained on.

    >>> name_of_tested("nemo@4class", "speaker")
    'from_nemo@4class@speaker'
    """
    return f"{TESTED}{corpus}@{protocol}"


def trained_on(name: str) -> tuple[str, str] | None:
    """Corpus and protocol that `name_of_tested` has named; None for the name of a protocol.

    >>> trained_on("from_nemo@4class@speaker-hold_text"), trained_on("speaker")
    (('nemo@4class', 'speaker-hold_text'), None)
    """
    if not name.startswith(TESTED):
        return None
    corpus, _, protocol = name.removeprefix(TESTED).rpartition("@")
    return corpus, protocol


def without_oracle(name: str) -> str:
    """The name of the protocol whose folds test the same; `name` is as from `path_name`.

    >>> without_oracle("session-valid_oracle-OPTIMISTIC-hold_text"), without_oracle("random-valid_oracle-OPTIMISTIC")
    ('session-hold_text', 'random-OPTIMISTIC')
    """
    if known := trained_on(name):
        return name_of_tested(known[0], without_oracle(known[1]))
    protocol, _, rest = name.partition("-")
    return path_name(protocol, f"-{rest}".endswith(HOLD_TEXT))


def is_optimistic(name: str) -> bool:
    """Whether figures under a protocol are optimistic; its name is as from `path_name`."""
    return OPTIMISTIC in name


def is_official(name: str) -> bool:
    """Whether a protocol tests the corpus's own lists, not all utterances; its name is as from `path_name`."""
    return name.partition("-")[0] == OFFICIAL


def valid_name(valid: str) -> str:
    """The name of a validation on tables.

    >>> valid_name("partner"), valid_name("oracle")
    ('partner', 'oracle-OPTIMISTIC')
    """
    return valid + (OPTIMISTIC if valid == ORACLE else "")


def describe_valid(name: str) -> str:
    """Say what a validation, or its name as from `valid_name`, chooses the epoch by."""
    valid = name.removesuffix(OPTIMISTIC)
    return VALID_WORDS[valid] + ("" if valid == ORACLE else "; the test set plays no role in it")


def describe(name: str, speakers: str = "", overlap: float = float("nan")) -> str:
    """Say what a protocol's folds test; its name is as from `path_name`.

    `speakers` tells for how many utterances of the corpus the speaker is known (`30/48`, see `manifest.filled`), and
    `overlap` is the share of the tested ones whose speaker is in the training set (`local.splits.audit`). Without
    `speakers` nothing is said of them but what protocol `speaker` promises.
    """
    if known := trained_on(name):
        corpus, trained = known
        mark = f"; {OPTIMISTIC_WORDS}" if OPTIMISTIC in trained else ""
        return f"every model that was trained on {corpus} with protocol {trained} is tested on the whole corpus{mark}"
    held = f"; {HOLD_TEXT_WORDS}" if name.endswith(HOLD_TEXT) else ""
    protocol = name.partition("-")[0]
    if protocol == RANDOM:
        words = f"{WORDS[protocol]}; {OPTIMISTIC_WORDS}"
    else:
        words = WORDS[protocol] + (_describe_speakers(protocol, speakers, overlap) if speakers else "")
    if OF_ORACLE in name:  # the validation set is the test set, with the tested speakers
        words = words.replace("training or validation set", "training set") + f"; {ORACLE_WORDS}"
        held = held.replace("in no other set", "not in the training set")
    return words + held


def _describe_speakers(protocol: str, speakers: str, overlap: float) -> str:
    known, of = speakers.split("/")
    if protocol == "speaker":  # it refuses a corpus that does not name them all
        return ""
    if known != of:
        what = f"known for {known} of {of} utterances only" if known != "0" else "unknown"
        return f"; who speaks is {what}, so the training set may have speakers of the test set"
    if overlap != overlap:  # nan: of a model that was not trained here
        return ""
    if protocol == "session":  # the audit refuses any that are shared
        return ", whose speakers are not in the training or validation set"
    if 0 < overlap < 1:
        return f"; the speakers of {per_cent(overlap)} % of the tested utterances are also in the training set"
    return f", whose speakers are {'also' if overlap else 'not'} in the training set"


def per_cent(share: float) -> str:
    """A share in per cent: in whole numbers, but what is neither none nor all is not shown as 0 or 100.

    >>> per_cent(0.124), per_cent(0.0034), per_cent(0.9966), per_cent(1)
    ('12', '0.3', '99.7', '100')
    """
    rest = min(share, 1 - share)
    if rest == 0 or rest >= 0.01:
        return f"{100 * share:.0f}"
    part = float(f"{100 * rest:.1g}")
    return f"{part if share < 0.5 else 100 - part:g}"
