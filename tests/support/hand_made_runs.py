"""Runs made by hand: what stages 2 and 3 leave in a run folder, without a training."""

from __future__ import annotations

import csv
import json

from local.corpora import manifest
from local.experiment.command_line import parse
from local.experiment.job import Job

LABELS = ["ang", "hap", "sad"]
WRONG = {"1A": 1, "1B": 3, "2A": 6, "2B": 4}  # emotions that are wrong, of 12 in each fold
LOST = {"1A": 2, "1B": 0, "2A": 12, "2B": 5}  # transcripts whose last word is lost, of 12
EPOCHS = """\
epoch,lr,train_loss,train_ce,train_ctc,train_wa,valid_loss,valid_ce,valid_ctc,valid_wa,valid_ua,valid_f1,valid_wer,\
valid_cer,ctc_left_out,skipped_updates,seconds
1,0.001,9.5,1.1,42.0,0.4,8.5,1.0,37.5,0.5,0.45,0.4,1.0,0.9,0,0,1.5
2,0.001,4.5,0.6,19.5,0.8,5.0,0.8,21.0,0.75,0.7,0.65,0.5,0.25,0,0,1.5
"""
WITHOUT_TEXT = ["--hparams", "hparams/statistics.yaml"]  # the options of a system that writes no text
EPOCHS_WITHOUT_TEXT = """\
epoch,lr,train_loss,train_ce,train_wa,valid_loss,valid_ce,valid_wa,valid_ua,valid_f1,skipped_updates,seconds
1,0.001,1.1,1.1,0.4,1.0,1.0,0.5,0.45,0.4,0,1.5
2,0.001,0.6,0.6,0.8,0.8,0.8,0.75,0.7,0.65,0,1.5
"""


def predict(
    words: list[str],
    fold: str,
    seed: int = 1,
    wrong: int | None = None,
    lost: int | None = None,
    text: bool = True,
    config: str = "mini.yaml",
    **recorded: object,
) -> Job:
    """Leave in a run folder what stages 2 and 3 would, with the first predictions of the fold wrong.

    Without `text` it is of a system that writes none; `config` is its YAML's name, and `recorded` more of env.json.
    """
    job = Job(parse(words), fold, seed)
    job.folder.mkdir(parents=True)
    (job.folder / "hyperparams.yaml").write_text(job.yaml)
    (job.folder / "epochs.csv").write_text(EPOCHS if text else EPOCHS_WITHOUT_TEXT)
    (job.folder / "env.json").write_text(json.dumps({"commit": "0123456789ab-dirty"} | recorded))
    job.training().write([job.folder / "epochs.csv"], config=config, epoch=7)
    wrong, lost = WRONG[fold] if wrong is None else wrong, LOST[fold] if lost is None else lost
    with open(job.folder / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        heads = ["ID", "emo", "emo_hyp", *(f"p_{label}" for label in job.labels), "wrd"]
        rows.writerow([*heads, "wrd_hyp"] if text else heads)
        for i, (_, each) in enumerate(manifest.read(job.manifests / "test.csv").iterrows()):
            guess = job.labels[(job.labels.index(each["emo"]) + (i < wrong)) % 3]
            posteriors = [0.8 if label == guess else 0.1 for label in job.labels]
            recognised = each["wrd"].rpartition(" ")[0] if i < lost else each["wrd"]
            cells = [each["ID"], each["emo"], guess, *posteriors, each["wrd"]]
            rows.writerow([*cells, recognised] if text else cells)
    job.decoding().write([job.folder / "predictions.csv"], epoch=seed + 6)
    return job
