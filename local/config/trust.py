"""What the YAML of a run folder may build.

HyperPyYAML builds any Python object by the tags `!new:`, `!apply:`, `!name:`, `!module:` and `!!python/...`, and calls
what `!applyref:` names as soon as references are resolved. A YAML given with --hparams is the user's own and may do
all of this. A run folder may come from somebody else: its hyperparams.yaml has nothing left to resolve, and may only
build systems and encoders of this project, and the optimizers, schedulers, poolings and augmentations of `KNOWN`, none
of which reads a file or calls what it is given.
"""

from __future__ import annotations

import re
from pathlib import Path

import ruamel.yaml

from local.core.errors import UserError

ENCODER = "!apply:local.encoders.load_encoder"
SYSTEM = re.compile(r"!new:local\.systems\.(\w+)\.(\w+)")
SYSTEMS = Path(__file__).parents[1] / "systems"
_OPTIMIZERS = "Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD NAdam RAdam RMSprop Rprop SGD"
_TORCH_SCHEDULERS = (
    "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR OneCycleLR "
    "PolynomialLR ReduceLROnPlateau StepLR"
)
_TRANSFORMERS_SCHEDULERS = (
    "constant_schedule constant_schedule_with_warmup linear_schedule_with_warmup cosine_schedule_with_warmup "
    "cosine_with_hard_restarts_schedule_with_warmup cosine_with_min_lr_schedule_with_warmup inverse_sqrt_schedule "
    "polynomial_decay_schedule_with_warmup reduce_on_plateau_schedule wsd_schedule"
)
_SPEECHBRAIN_SCHEDULERS = (
    "CyclicCosineScheduler CyclicLRScheduler IntervalScheduler InverseSquareRootScheduler LinearNoamScheduler "
    "LinearScheduler LinearWarmupScheduler NewBobScheduler NoamIntervalScheduler NoamScheduler ReduceLROnPlateau "
    "StepScheduler TriStageLRSchedule WarmAndExpDecayLRSchedule WarmCoolDecayLRSchedule"
)
_AUGMENTATIONS = "DoClip DropBitResolution DropChunk DropFreq RandAmp Resample SignFlip SpeedPerturb"
KNOWN = frozenset(
    {
        *(f"!name:torch.optim.{name}" for name in _OPTIMIZERS.split()),
        *(f"!name:torch.optim.lr_scheduler.{name}" for name in _TORCH_SCHEDULERS.split()),
        "!name:local.training.optimisation.EpochCyclicLR",
        "!name:local.training.loss_steps.LossSteps",
        *(f"!name:transformers.get_{name}" for name in _TRANSFORMERS_SCHEDULERS.split()),
        *(f"!name:speechbrain.nnet.schedulers.{name}" for name in _SPEECHBRAIN_SCHEDULERS.split()),
        *(f"!new:speechbrain.nnet.schedulers.{name}" for name in _SPEECHBRAIN_SCHEDULERS.split()),
        "!new:speechbrain.nnet.pooling.StatisticsPooling",
        "!new:speechbrain.lobes.models.ECAPA_TDNN.AttentiveStatisticsPooling",
        "!new:speechbrain.augment.augmenter.Augmenter",
        *(f"!new:speechbrain.augment.time_domain.{name}" for name in _AUGMENTATIONS.split()),
    }
)


def refuse_foreign(run: Path, own: str = "") -> None:
    """Raise a UserError where a run folder's YAML builds what is neither of this project nor `KNOWN`, or is broken.

    Nothing is built. What a YAML that the user gave, of the text `own`, builds as well is allowed.
    """
    file = run / "hyperparams.yaml"
    try:
        built = tags(file.read_text(encoding="utf-8")) - tags(own)
    except (ruamel.yaml.error.YAMLError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}", "give another run folder") from None
    if foreign := sorted(each for each in built if not _is_safe(each)):
        raise UserError(
            f"{file} would build {foreign[0]!r}, which is no system or encoder of this project, nor known to be safe",
            "train it here with ./run.sh --hparams, if you trust who wrote it",
        )


def tags(text: str) -> set[str]:
    """The tags of a YAML."""
    events = ruamel.yaml.YAML(typ="safe", pure=True).parse(text)
    return {event.tag for event in events if getattr(event, "tag", None)}


def _is_safe(tag: str) -> bool:
    """Whether a tag builds what is `KNOWN`, an encoder, or a system: a class that its file defines, not imports."""
    system = SYSTEM.fullmatch(tag)
    if system is None or not (file := SYSTEMS / f"{system[1]}.py").is_file():
        return tag == ENCODER or tag in KNOWN
    return re.search(rf"^class {system[2]}\b", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
