"""Stage 7, one job: the test set under distortions, at the checkpoint that was chosen.

    python -m local.stress OPTIONS --folds FOLD --seeds SEED [-- OVERRIDES]

predicts the test set in each case of `--stress` (see `local.core.conditions`), the clean one first, and writes
`stress.csv`. The model is loaded once. It is given the waveforms, whatever it was trained on: features that a training
has stored are of clean audio. A job that was interrupted goes on with the case that it was at; cases of earlier calls
are kept. What cannot be done here is left out, and the log says so.
"""

from __future__ import annotations

from local.core import garbage
from local.core.errors import as_command
from local.experiment.command_line import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load
    garbage.ignore()

import logging
import time
from collections.abc import Callable
from functools import cached_property

import pandas as pd
import torch
from speechbrain.utils.autocast import AMPConfig, TorchAutocast

from local.audio import distortions
from local.audio.header import SAMPLE_RATE
from local.config.trust import refuse_foreign
from local.core import conditions, logs, progress_json
from local.core.conditions import CLEAN, Case
from local.core.lock import locked_or_refused
from local.core.tasks import transcripts_trained
from local.corpora import manifest
from local.data.batches import sorted_batches
from local.data.dataset import Utterances, loader
from local.data.device import evaluation_limits, full_name, kind, use_precision
from local.data.distorted import Distorted, Talkers
from local.data.store import AudioStore
from local.experiment.job import Job
from local.jobs.job_lines import stress_line
from local.scoring import metrics, predictions
from local.scoring.stressed import CaseTables
from local.training.chosen import load_chosen
from local.training.progress import ProgressFile, in_decoding

logger = logging.getLogger(__name__)


class StressTest:
    """A trained job whose test set is predicted in any case."""

    def __init__(self, job: Job) -> None:
        refuse_foreign(job.folder, own=job.yaml)
        values = job.built()
        self.job, self.running = job, job.options.values  # as in stage 3, device and batch sizes are those of this call
        self.device = full_name(self.running["device"])
        self.system = values["system"].to(self.device).eval()
        self.spells = transcripts_trained(values)
        self.epoch = load_chosen(job, self.system)
        garbage.collect()
        self.audio = AudioStore.of(*job.options.audio())
        self.table = manifest.read(job.manifests / "test.csv")
        self.test = Utterances.of(job.manifests / "test.csv", self.audio, job.labels, job.tokenizer)
        self.test.refuse_longer_than(self.system.max_samples)
        self.speakers = dict(zip(self.table["ID"], self.table["spk_id"], strict=True))
        precision = AMPConfig.from_name(use_precision(values["eval_precision"]))
        self.autocast = TorchAutocast(self.device.split(":")[0], dtype=precision.dtype)

    @cached_property
    def talkers(self) -> Talkers:
        """Who babbles: the fold's training set, which another corpus may have than the one that is tested."""
        trained = self.job.options.source or self.job.options
        return Talkers(manifest.read(self.job.manifests / "train.csv"), AudioStore.of(*trained.audio()))

    def left_out(self, cases: list[Case]) -> dict[str, str]:
        """Why conditions cannot be done here, by name."""
        names, reasons = {case.condition for case in cases}, {}
        if "mp3" in names and not distortions.writes_mp3():
            reasons["mp3"] = "libsndfile writes no MP3 here"
        if "babble" in names and not all(self.talkers.others(each) for each in set(self.speakers.values())):
            reasons["babble"] = "the training set has no other speaker than the one who is tested"
        return reasons

    def cut(self, case: Case) -> int:
        """How many utterances become longer than the system reads, so that their end is cut off."""
        most = self.system.max_samples
        return sum(most is not None and case.lasting(each) * SAMPLE_RATE > most for each in self.table["duration"])

    @torch.inference_mode()
    def predicted(self, case: Case, after: Callable[[int], None]) -> pd.DataFrame:
        """The predictions in a case; `after` is called with the number of utterances of each batch."""
        talkers = self.talkers if case.condition == "babble" else None
        self.test.audio = Distorted(self.audio, case, self.speakers, talkers, self.system.max_samples)
        self.test.durations = case.lasting(self.table["duration"].to_numpy())
        batches = sorted_batches(self.test.durations, evaluation_limits(self.running, self.system))
        rows = []
        for batch in loader(self.test, batches, self.running["num_workers"], kind(self.running)):
            batch = batch.to(self.device)
            with self.autocast:
                outputs = self.system(batch.wavs, batch.lengths)
            rows += batch.prediction_rows(outputs, self.job.labels, self.job.tokenizer)
            after(len(batch))
        return predictions.frame(rows, self.job.labels, self.system.writes_text)


def stress(job: Job) -> None:
    """Predict the test set of a job in every case that is asked for."""
    if job.is_done("stress"):
        logger.info("%s is tested under distortions already", job.folder)
        return
    tested, made = StressTest(job), CaseTables(job.stressing(), job.options.force)
    cases = conditions.cases(job.options.stress)
    left_out = tested.left_out(cases)
    for name, reason in left_out.items():
        logger.warning("%s is left out: %s", name, reason)
    waiting = [case for case in cases if case not in made and case.condition not in left_out]
    seconds = sum(case.lasting(each) for case in waiting for each in tested.table["duration"])
    logger.info("%d cases of %d utterances, %.2f h of audio", len(waiting), len(tested.table), seconds / 3600)
    progress = Progress(job, len(waiting) * len(tested.table))
    for case in waiting:
        made.add(case, tested.predicted(case, progress.add))
    whole = {case: made.tables[case].merge(tested.table[["ID", "emo", "wrd"]], on="ID") for case in made.tables}
    scores = {case: metrics.emotion_scores(table["emo"], table["emo_hyp"])["wa"] for case, table in whole.items()}
    lowest = min(scores, key=scores.get)
    cut = {case.label: n for case in made.tables if (n := tested.cut(case))}
    trained = tested.system.emotion_weight > 0
    facts = {"scores": metrics.scores(whole[CLEAN], trained, tested.spells)}
    facts |= {"lowest": [lowest.title, scores[lowest]]} if trained else {}
    made.finish(epoch=tested.epoch, threads=torch.get_num_threads(), left_out=left_out, cut=cut, **facts)
    logger.info("%s", stress_line(facts))


class Progress:
    """Counts the utterances that are predicted, for those who watch progress.json."""

    def __init__(self, job: Job, total: int) -> None:
        self.file, self.total, self.done, self.began = ProgressFile(job.folder), total, 0, time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if self.file.is_due():
            self.file.write(in_decoding(self.done, self.total, time.monotonic() - self.began))


@as_command
def main() -> None:
    """Test one job under distortions."""
    logs.log_to_stderr()
    for job in Job.all(parse().tested()):
        with locked_or_refused(job.folder / ".lock", f"works in {job.folder}"), progress_json.cleared(job.folder):
            stress(job)


if __name__ == "__main__":
    main()
