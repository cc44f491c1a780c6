"""One job: a fold with a seed, what it reads, where it writes, and what of it is done. No torch."""

from __future__ import annotations

from pathlib import Path

from local import hparams, markers
from local.files import digest
from local.markers import Marker
from local.options import Options
from local.tokenizer import Tokenizer


class Job:
    """A fold with a seed, of an experiment.

    Attributes
    ----------
    folder
        The run folder.
    manifests
        The fold's folder of manifests.
    labels
        The emotions, in the order of the model's classes.
    data_root
        What `$data_root` stands for in the manifests.
    yaml
        The text of the resolved YAML, which builds the system by itself.
    """

    def __init__(self, options: Options, fold: str, seed: int) -> None:
        self.options, self.fold, self.seed = options, fold, seed
        self.valid = options.chosen_valid()
        folds_folder = options.folds_folder(self.valid)
        self.manifests = folds_folder / fold
        self.folder = options.run_folder(seed, fold)
        self.labels: list[str] = markers.read(folds_folder / "folds.json")["facts"]["labels"]
        self.data_root = Path(markers.read(options.corpus_folder / "all.json")["facts"]["root"])
        self.tokenizer = Tokenizer(self.manifests / "tokenizer.model")
        given = {"seed": seed, "n_labels": len(self.labels), "n_tokens": len(self.tokenizer)}
        self.yaml = hparams.resolved(options.hparams, options.overrides | given)

    def training(self) -> Marker:
        """The marker of stage 2: made from the fold's training and validation parts and the YAML's values."""
        values = hparams.scalars(self.options.hparams, self.options.overrides)
        values = {key: value for key, value in values.items() if key not in (*hparams.RUNTIME, *hparams.GIVEN)}
        manifests = self._digests("train.csv", "valid.csv", "tokenizer.model")
        return Marker(self.folder / "train.json", {"valid": self.valid} | manifests | values)

    def decoding(self) -> Marker:
        """The marker of stage 3: made from the training and the test part."""
        return Marker(
            self.folder / "decode.json", {"training": digest(self.training().path)} | self._digests("test.csv")
        )

    def done(self, step: str) -> bool:
        """Tell whether `train` or `decode` is done.

        Raises
        ------
        UserError
            It was trained with other values or manifests; without an earlier training there is
            nothing to decode.
        """
        if step == "train":
            return self.training().done(f"training of {self.folder}", self.options.force)
        markers.read(self.training().path)
        # Other inputs can only mean that the job was trained anew: its old predictions are worth nothing.
        return self.decoding().done(f"decoding of {self.folder}", self.options.force, redo=True)

    def _digests(self, *names: str) -> dict[str, str]:
        paths = [self.manifests / name for name in names]
        return {path.name: digest(path) for path in paths if path.exists()}
