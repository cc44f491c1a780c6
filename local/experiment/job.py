"""One job: a fold with a seed, what it reads, where it writes, and what of it is done. No torch."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local.config import hparams, pretrained
from local.config.trust import refuse_foreign
from local.core import conditions, markers, starts
from local.core.errors import UserError
from local.core.files import digest, write_text
from local.core.markers import Marker
from local.corpora import manifest
from local.experiment import continued, speakers, task_classes, task_runs
from local.experiment.command_line import parse
from local.experiment.encoder_version import encoder_version, refuse_gone, versions
from local.experiment.folders import refuse_not_a_run
from local.experiment.options import Options
from local.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# What a training leaves in its run folder, besides its log and what it was begun with.
TRAINING_OUTPUTS = (
    *("save", "tensorboard", "epochs.csv", "train_log.txt", "train.json"),
    *("predictions.csv", "temperature.json", "decode.json", "scores.json", "model", "model.json"),
    *("predictions_last.csv", "decode_last.json"),
    *("stress", "stress.csv", "stress.json"),
)
TRAINED_ON = ("train.csv", "valid.csv", "tokenizer.model")
LOADED = "Epoch loaded"  # begins the line of train_log.txt with the scores of the test set, as in SpeechBrain's recipes
JOB_KEYS = {"corpus", "protocol", "valid", "hold_text", "fold", "seed", "name"}  # of `job` in env.json


class Job:
    """A fold with a seed, of an experiment.

    Attributes
    ----------
    folder
        The run folder.
    manifests
        The fold's folder of manifests.
    classes
        The column of the table that has the classes: `emo`, or `spk_id` where the YAML says so.
    own_runs
        By key of the YAML, the runs of this fold among those of an experiment that it names.
    labels
        The emotions, or the speakers of the training set, in the order of the model's classes.
    yaml
        The text of the resolved YAML, which builds the system by itself.
    """

    def __init__(self, options: Options, fold: str, seed: int) -> None:
        self.options, self.fold, self.seed = options, fold, seed
        self.valid = options.chosen_valid()
        folds_folder = options.folds_folder(self.valid)
        self.manifests = folds_folder / fold
        self.folder = options.run_folder(seed, fold)
        self.classes = options.values.get("classes", speakers.EMOTIONS)
        if self.classes == speakers.EMOTIONS:
            self.labels: list[str] = markers.read(folds_folder / "folds.json")["facts"]["labels"]
        else:
            self.labels = speakers.labels(self.manifests, self.classes)
        self.tokenizer = Tokenizer(self.manifests / "tokenizer.model")
        sizes = {"n_labels": len(self.labels), "n_tokens": len(self.tokenizer)}
        named = {key: options.values.get(key) for key in (speakers.KEY, *task_runs.KEYS)}
        found = {key: speakers.own_folder(source, seed, fold) for key, source in named.items()}
        self.own_runs = {key: run for key, run in found.items() if run}
        own = {key: str(run) for key, run in self.own_runs.items()}
        heads = task_classes.of_training(options.values, self.manifests)
        self.yaml = hparams.resolve(options.hparams, options.overrides | {"seed": seed} | sizes | heads | own)

    @classmethod
    def of_run(cls, run: Path) -> Job:
        """The job whose run folder it is.

        `UserError` when it is no run folder, an earlier version wrote too little of it, or its YAML would build what
        is not of this project.
        """
        refuse_not_a_run(run)
        refuse_foreign(run)
        return cls.all(parse(options_of_run(run, read_environment(run)["job"])))[0]

    @classmethod
    def all(cls, options: Options) -> list[Job]:
        """Every fold with every seed that the options ask for; `UserError` where the protocol has no such fold."""
        folds = options.chosen_folds()
        return [cls(options, fold, seed) for seed in options.seeds for fold in folds]

    def built(self) -> dict[str, Any]:
        """Build what the run folder's YAML describes; a UserError where weights that it began with have gone."""
        text = (self.folder / "hyperparams.yaml").read_text(encoding="utf-8")
        refuse_gone(self.folder, hparams.plain_values(text), self._inputs("train.json"))
        return hparams.build(text)

    def begin(self) -> None:
        """Begin the run folder, or continue in one that was begun with the same inputs; see `starts_over`."""
        self.refuse_other_task_runs()
        for warning in filter(None, (self.refuse_tested_speakers(), self.heard())):
            logger.warning(warning)
        if self.starts_over():
            self.clear()
        self.beginning().write()
        write_text(self.folder / "hyperparams.yaml", self.yaml)  # last: with it, the folder is a run folder

    def clear(self) -> None:
        """Delete what a training has left."""
        for path in (self.folder / name for name in TRAINING_OUTPUTS):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def starts_over(self) -> bool:
        """Whether what a training has left is to be deleted: by `--force`, or begun with other inputs, as of a typo.

        `UserError` where that has a checkpoint.
        """
        old = None if self.options.force else begun_inputs(self.folder)
        if old is None or not self.beginning().changes(old):
            return self.options.force
        if self.training().path.exists() or has_checkpoint(self.folder):
            self.beginning().refuse_changes(old, f"{self.folder} was begun")
        return True

    def beginning(self) -> Marker:
        """The marker that `begin` writes: what is trained on, and the values of the resolved YAML."""
        return self._of_training("begun.json", hparams.compared_values(self.yaml))

    def training(self) -> Marker:
        """The marker of stage 2: made from training and validation set, pretrained weights and the YAML's values."""
        values = hparams.compared_values(self.yaml)
        values = {key: value for key, value in values.items() if key not in hparams.SET_BY_PIPELINE}
        return self._of_training("train.json", {"valid": self.valid} | values)

    def _of_training(self, name: str, values: dict[str, Any]) -> Marker:
        """A marker in the run folder: with these values, what is trained on and the versions of pretrained weights."""
        given = self.options.values
        for key, run in self.own_runs.items():  # the folds of an experiment differ in it as in their training sets
            values |= {key: given[key], f"{key}{speakers.OF_FOLD}": encoder_version(str(run))}
            given = given | {key: None}
        begun = self._inputs("begun.json") or self._inputs("train.json")
        inputs = self.digests(*TRAINED_ON, known=begun) | values | versions(given)
        return Marker(self.folder / name, inputs, if_known=pretrained.VERSIONS.values())

    def decoding(self) -> Marker:
        """The marker of stage 3: made from the training and the test set."""
        tested = self.digests("test.csv", known=self._inputs("decode.json"))
        return Marker(self.folder / "decode.json", {"training": digest(self.training().path)} | tested)

    def decoding_of_last(self) -> Marker:
        """The marker of `--last-epoch` in stage 3: made from the same."""
        return Marker(self.folder / "decode_last.json", self.decoding().inputs)

    def _inputs(self, name: str) -> dict[str, Any]:
        """The inputs of a marker in the run folder; none where it is missing or damaged."""
        try:
            return markers.read(self.folder / name)["inputs"]
        except UserError:
            return {}

    def stressing(self) -> Marker:
        """The marker of stage 7: made from the training, the test set and what the distortions are."""
        return Marker(self.folder / "stress.json", self.decoding().inputs | {"distortions": conditions.VERSION})

    def is_done(self, step: str) -> bool:
        """Whether `train`, `decode` or, of the cases that are asked for, `stress` is done.

        `UserError` when it was trained, or begun, with other values or manifests (of what decodes: with other values
        than the overrides, if there are any), or there is no training to decode.
        """
        if step == "train":
            done = self.training().is_done(f"training of {self.folder}", self.options.force)
            if not done:
                self.starts_over()  # which refuses what cannot be continued
            return done
        self.refuse_speakers()
        self.refuse_other_overrides()
        if step == "stress":
            markers.read(self.decoding().path)
            return self._is_stressed()
        # Other inputs can only mean that the job was trained again: its old predictions are worth nothing.
        wanted = [self.decoding(), *([self.decoding_of_last()] if self.options.last_epoch else [])]
        return all(each.is_done(f"decoding of {self.folder}", self.options.force, redo=True) for each in wanted)

    def refuse_other_overrides(self) -> None:
        """Refuse overrides with which it was not trained: what decodes takes those of the training, not these.

        Weights may have moved, and figures may be rounded otherwise.
        """
        old = markers.read(self.folder / "train.json")["inputs"]
        given = self.options.overrides.keys() - {*pretrained.KEYS, *hparams.ROUNDING, *hparams.RUNTIME}
        if not given:  # most often
            return
        new = self.training()
        if changed := new.changes(old, but={*old, *new.inputs} - given):
            what = f"{self.folder} was trained with other values than these overrides: {', '.join(changed)}"
            raise UserError(what, "leave them out; or give another --name, and begin with stage 2")

    def _is_stressed(self) -> bool:
        """Whether all cases that are asked for are done, or could not be, unless they are named."""
        facts = None if self.options.force else self.stressing().facts()
        if facts is None:
            return False
        left_out = facts["left_out"].keys() - {*self.options.stress}
        wanted = {case.label for case in conditions.cases(self.options.stress) if case.condition not in left_out}
        return wanted <= {*facts["cases"]}

    def refuse_tested_speakers(self) -> str:
        """Refuse a `speaker_net` that was trained on speakers of the test set; see `speakers.refuse_tested`."""
        source = self.own_runs.get(speakers.KEY) or self.options.values.get(speakers.KEY)
        own = self.digests("train.csv", "test.csv")
        return speakers.refuse_tested(source, self.options.corpus, self.manifests, own)

    def refuse_other_task_runs(self) -> None:
        """Refuse a `ctc_run` or an `emotion_run` that did not begin as this training; see `task_runs.refuse_other`."""
        for key in task_runs.KEYS:
            if source := self.own_runs.get(key) or self.options.values.get(key):
                found = task_runs.read(key, Path(source), self.fold, self.seed)
                own = self.training().inputs | self.digests(*TRAINED_ON, known=found)
                task_runs.refuse_other(key, source, found, own)

    def origin(self) -> continued.Origin | None:
        """The model folder that the training continues from; None where `encoder` is none."""
        return continued.origin(self.options.values.get(continued.KEY))

    def heard(self) -> str:
        """Say that what this begins with was trained on speakers of the test set, or may have been."""
        names = self.options.corpus, self.options.protocol_name
        origins = (continued.made_here(self.options.values.get(key)) for key in continued.OF_MODELS)
        said = (continued.heard(origin, *names, self.manifests) for origin in origins if origin)
        return "; ".join(dict.fromkeys(filter(None, said)))

    def refuse_speakers(self) -> None:
        """Raise a UserError where the classes are speakers: such a run has no emotions to decode, score or export."""
        if self.classes != speakers.EMOTIONS:
            raise UserError(
                f"{self.folder} tells speakers apart and not emotions: there is nothing to decode or to export",
                f"end with --stop-stage 2, and give it to pappagari_xvector: --speaker-net {self.folder}",
            )

    def digests(self, *names: str, known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, str]:
        """The digests of files of the fold's manifests, of those that exist.

        Where one is `known`, of an earlier table that lacks no more than what raters say, it is that.
        """
        paths = [path for name in names if (path := self.manifests / name).exists()]
        return {
            path.name: old if path.suffix == ".csv" and manifest.is_same(path, old) else digest(path)
            for path in paths
            for old in [known.get(path.name)]
        }


def copy_training_log(source: Path, folder: Path) -> None:
    """Copy train_log.txt of a run into a folder, perhaps its own, without the scores of the test set."""
    if (source / "train_log.txt").exists():
        lines = (source / "train_log.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(folder / "train_log.txt", "".join(line for line in lines if not line.startswith(LOADED)))


def has_checkpoint(run: Path) -> bool:
    """Whether a training has left a checkpoint in a run folder."""
    return any(run.glob("save/*/CKPT.yaml"))


def begun_inputs(run: Path) -> dict[str, Any] | None:
    """What the training in a run folder was begun with: the inputs of `Job.beginning`; None where none was."""
    if (run / "begun.json").exists():
        return markers.read(run / "begun.json")["inputs"]
    return _inputs_in_comment(run / "hyperparams.yaml")


def _inputs_in_comment(yaml: Path) -> dict[str, Any] | None:
    """The same of a run folder of the version before begun.json, which kept the manifests in the YAML's first line."""
    if not yaml.exists():
        return None
    text = yaml.read_text(encoding="utf-8")
    manifests = re.match("# manifests: (.*)", text)
    return (json.loads(manifests[1]) if manifests else {}) | hparams.compared_values(text)


def options_of_run(run: Path, job: dict[str, Any]) -> list[str]:
    """The options that run the job of a run folder again; `job` is that of its env.json."""
    words = {name: job[name] for name in ("corpus", "protocol", "valid", "name")}
    words |= {"hold-text": str(job["hold_text"]).lower(), "folds": job["fold"], "seeds": job["seed"]}
    words |= {"extra-training": job["extra_training"]} if job.get("extra_training") else {}
    return [f"--{name}={value}" for name, value in {**words, "hparams": run / "hyperparams.yaml"}.items()]


def read_environment(run: Path) -> dict[str, Any]:
    """Read env.json of a run folder, see `local.core.starts`; a `UserError` where it does not say which job it is."""
    environment = starts.read(run)
    job = environment.get("job")
    if not (isinstance(job, dict) and job.keys() >= JOB_KEYS):
        raise UserError(
            f"{run / starts.NAME} does not say which job it is: it was made by an older version",
            f"train it again with this version (--force true); {run / 'train.log'} has the command",
        )
    return environment
