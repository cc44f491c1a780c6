"""Training that continues from a model folder, `--encoder MODEL`: what agrees, on whom it was trained. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from local.core import model_json
from local.core.errors import UserError
from local.corpora import manifest, people, releases

KEY = "encoder"  # of the YAML
OF_MODELS = (KEY, "upstream", "asr_encoder")  # its keys that may name a model folder, or what lies in one,
PARTS = ("emotion", "ctc")  # as these, which are for plain transformers
BEFORE = "before"  # of a model's provenance: that of the models that it continued from, the latest first
KEPT = ("corpus", "protocol", "folds", "speakers")  # what is kept there of each
MOST = 8  # speakers or tokens in a message


class Origin(NamedTuple):
    """What a model folder says of itself."""

    source: str  # its path
    system: str  # a file of local/systems
    settings: dict[str, Any]
    labels: list[str]
    tokens: list[str]  # the text of each; none of a system without a CTC head
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return Path(self.source).absolute().name

    @property
    def trainings(self) -> list[dict[str, Any]]:
        """Corpus, protocol, folds and speakers of its training, and of those before it; the latest first."""
        earlier = self.provenance.get(BEFORE, [])
        earlier = [each for each in earlier if isinstance(each, dict)] if isinstance(earlier, list) else []
        return [{key: self.provenance[key] for key in KEPT if key in self.provenance}, *earlier]


def origin(source: Any) -> Origin | None:
    """What a model folder says, the value of the YAML's `encoder`; None for anything else, a `UserError` if broken."""
    if not model_json.is_model(source):
        return None
    config = model_json.read(Path(source))
    return Origin(str(source), *(config[name] for name in Origin._fields[1:]))


def made_here(source: Any) -> Origin | None:
    """What the model folder says that is the value of one of `OF_MODELS`, or has it in it; None for anything else."""
    if isinstance(source, str) and Path(source).name in PARTS:
        source = str(Path(source).parent)
    return origin(source)


def refuse_other_system(origin: Origin, system: str, where: str) -> None:
    """Raise a UserError where a model is of another system, a file of local/systems, than the YAML `where` builds."""
    if origin.system != system:
        raise UserError(
            f"encoder {origin.source} is a model of the system {origin.system}, and {where} builds {system}",
            f"give --hparams a YAML of {origin.system}, or --encoder a model of {system} or an encoder alone",
        )


class Agreement(NamedTuple):
    """For each class or token of a training the model's, or None where its head starts from random weights; and why."""

    order: list[int] | None
    said: str

    @classmethod
    def none(cls, why: str) -> Agreement:
        """That they do not agree, and why."""
        return cls(None, f"starts from random weights: {why}")


def emotions(origin: Origin, labels: Sequence[str]) -> Agreement:
    """Compare the emotions: they agree where they are the same, in any order."""
    if origin.settings.get("emotion_weight") == 0:
        return Agreement.none(f"emotion_weight was 0 when {origin.name} was trained: it learnt nothing")
    if {*origin.labels} != {*labels}:
        return Agreement.none(f"{origin.name} has {' '.join(origin.labels)}, here are {' '.join(labels)}")
    order = [origin.labels.index(label) for label in labels]
    return Agreement(order, f"taken{', its labels in another order' * (order != sorted(order))}")


def tokens(origin: Origin, here: Sequence[str]) -> Agreement:
    """Compare the tokens: they agree where the model has all of those here, in any order; its others are left out."""
    if origin.settings.get("alpha") == 0:
        return Agreement.none(f"alpha was 0 when {origin.name} was trained, so its own learnt nothing")
    if len(here) < 2:  # the blank alone
        return Agreement.none("the training set has no transcripts")
    if unknown := [token for token in here if token not in origin.tokens]:
        more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
        return Agreement.none(f"{origin.name} lacks the tokens {' '.join(unknown[:MOST])}{more}")
    order = [origin.tokens.index(token) for token in here]
    left = len(origin.tokens) - len(here)
    said = ["its tokens in another order"] * (order != sorted(order))
    said += [f"{left} of its {len(origin.tokens)} tokens, which do not occur here, left out"] * bool(left)
    return Agreement(order, ", ".join(["taken", *said]))


def head(origin: Origin, name: str, classes: Sequence[str]) -> Agreement:
    """Compare a further head: it agrees where the model has it, trained, with the same classes in the same order."""
    weights, known = (origin.settings.get(key) for key in ("heads", "head_classes"))
    weights, known = (each if isinstance(each, dict) else {} for each in (weights, known))
    if not weights.get(name):
        return Agreement.none(f"{origin.name} has none that was trained")
    if known.get(name, []) != list(classes):
        return Agreement.none(f"{origin.name} has other classes")
    return Agreement([], "taken")


def heard(origin: Origin, corpus: str, protocol: str, fold: Path) -> str:
    """Say that a model was trained on who is tested in a fold, its folder of manifests, or may have been; or nothing.

    Only names of the same release tell, under any map of labels; what the folder does not say cannot be known.
    """
    names = {*manifest.read(fold / "test.csv")["spk_id"]}
    tested = people(corpus, names)
    said = []
    for training in origin.trainings:
        other = training.get("corpus")
        if not isinstance(other, str) or releases(other).isdisjoint(releases(corpus)):
            continue
        made = tuple(training.get(key) for key in KEPT[:3])
        if made == (corpus, protocol, [fold.name]):  # the same training set
            continue
        speakers = training.get("speakers")
        if not isinstance(speakers, list) or not speakers or "" in names:
            said.append(f"on {other}, by whom is not known, so perhaps by speakers that fold {fold.name} tests")
        elif both := sorted(tested[each] for each in tested.keys() & people(other, map(str, speakers)).keys()):
            more = f" and {len(both) - MOST} more" if len(both) > MOST else ""
            said.append(f"on {other}, where fold {fold.name} tests the same speakers: {' '.join(both[:MOST])}{more}")
    return f"OPTIMISTIC: {origin.name} was trained {'; and '.join(said)}" if said else ""
