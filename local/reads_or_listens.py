"""Does a trained model read or listen? What its posteriors owe to the words, and to the manner of saying them.

    python -m local.reads_or_listens EXPERIMENT [EXPERIMENT ...] [--sentences N] [--out FILE] [--csv FILE]

An experiment is results/<corpus>/<protocol>/<name>, scored; the others are held against the first. Of each fold's test
set N transcripts of each emotion are spoken by one voice of espeak-ng in the manner of every emotion that it can take,
and each model of the fold hears them all. The effects are those of `local.scoring.words_and_manner`, with intervals.
`--out` writes the table as FILE.md, and the picture beside it as FILE.svg; `--csv` all posteriors, a row for each text,
manner and model; `--wavs` what was spoken, to be listened to.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from local.core import logs
from local.core.errors import Parser, UserError, as_command
from local.core.files import write_text
from local.experiment.folders import experiment_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from local.scoring.scored import Experiment

BATCH_SECONDS = 120  # of speech in a batch
VOICES = {"en": "en-us", "zh": "cmn"}  # of a language, where espeak-ng calls it otherwise


def words() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(
        prog="python -m local.reads_or_listens",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiments", nargs="+", type=Path, metavar="EXPERIMENT")
    parser.add_argument("--sentences", type=int, default=20, help="of each emotion and fold (default 20)")
    parser.add_argument("--voice", default="", help="of espeak-ng, such as en-us+f3 (default: the corpus's language)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default a GPU if there is one)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the table and the picture")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="of all posteriors")
    parser.add_argument("--wavs", type=Path, metavar="FOLDER", help="for what was spoken")
    given = parser.parse_args()
    if given.sentences < 1:
        raise UserError(f"--sentences {given.sentences} is not a number of sentences", "give 1 or more")
    return given


def voice_of(corpus: str) -> str:
    """The voice of a corpus's language."""
    from local import corpora

    language = corpora.about(corpus).language
    if language is None:
        raise UserError(f"the language of {corpus} is not known", "--voice VOICE of espeak-ng, such as de or en-us")
    return VOICES.get(language, language)


def refuse_unspeakable(corpus: str, labels: Iterable[str], voice: str) -> None:
    """`UserError` where the emotions of a corpus cannot be told by the manner of speaking, or by this voice."""
    from local.corpora.manner import MANNERS, NEUTRAL, say

    labels = sorted(set(labels) - {""})
    if not set(labels) & MANNERS.keys() - {NEUTRAL}:
        raise UserError(
            f"no manner of speaking is known for any emotion of {corpus}: {' '.join(labels)}",
            f"name them as {' '.join(MANNERS)} by a map of labels: --labels 4class, or a file, from stage 0 on",
        )
    say("a", voice or voice_of(corpus), MANNERS[NEUTRAL])


def chosen_texts(utterances: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` texts of each emotion, in an order that their IDs alone draw: `words`, `text`, `text_emo`."""
    from local.core.files import digest
    from local.text.normalise import NOISE_TAG, normalise

    texts = utterances.assign(
        text=[NOISE_TAG.sub("", text).strip() for text in utterances["wrd"]],
        words=[normalise(text) for text in utterances["wrd"]],
        text_emo=utterances["emo"],
        place=[digest(name) for name in utterances["ID"]],
    )
    texts = texts[texts["words"] != ""].sort_values("place").drop_duplicates(["text_emo", "words"])
    return texts.groupby("text_emo").head(count)[["words", "text", "text_emo"]].reset_index(drop=True)


def spoken(texts: pd.DataFrame, voice: str, labels: list[str]) -> list[tuple[dict[str, str], np.ndarray]]:
    """Each text in the manner of each label, and in a neutral one: its row, and samples [frames], int16, 16 kHz."""
    from local.corpora.manner import MANNERS, NEUTRAL, say

    manners = [NEUTRAL, *(label for label in labels if label in MANNERS and label != NEUTRAL)]
    return [
        (row | {"manner": manner}, say(row["text"], voice, MANNERS[manner]))
        for row in texts.to_dict("records")
        for manner in manners
    ]


def heard(run: Path, speech: list[tuple[dict[str, str], np.ndarray]], device: str | None) -> list[dict[str, object]]:
    """The row of each text and manner with the posteriors of a run's model."""
    from local.audio.header import SAMPLE_RATE
    from local.audio.recordings import of_array
    from local.deploy.gather import load_trained
    from local.inference.analyzer import Analyzer
    from local.inference.items import Item, analyze_items
    from local.scoring.predictions import POSTERIOR
    from local.scoring.scored import seed_of

    analyzer = Analyzer(load_trained(run), {"device": device})
    items = (Item("", recording=of_array(samples, SAMPLE_RATE)) for _, samples in speech)
    of_run = {"seed": seed_of(run), "fold": run.name}
    found = []
    for (row, _), (item, analysis) in zip(speech, analyze_items(items, analyzer, BATCH_SECONDS, False), strict=True):
        if analysis is None:
            raise UserError(f"{run}: {item.error}", "look at its train.log, and train it again")
        found.append(of_run | row | {POSTERIOR + label: value for label, value in analysis.posteriors.items()})
    return found


def refuse_other_tests(experiments: list[Experiment]) -> None:
    """Raise a UserError unless all were tested on the same: a model would hear texts of its training set."""
    from local.core.files import digest
    from local.experiment.job import Job

    tests = [{run.name: digest(Job.of_run(run).manifests / "test.csv") for run in each.runs} for each in experiments]
    for experiment, test in zip(experiments, tests, strict=True):
        if test != tests[0]:
            what = f"{experiment.folder} has other folds or test sets than {experiments[0].folder}"
            raise UserError(what, "give experiments of the same corpus, protocol and folds")


def listen(experiments: list[Experiment], given: argparse.Namespace) -> tuple[pd.DataFrame, list[str]]:
    """Let the models of all experiments hear the texts of their folds; the rows of all, and notes on the texts."""
    import pandas as pd
    from tqdm import tqdm

    from local.audio.header import SAMPLE_RATE
    from local.corpora import manifest
    from local.corpora.manner import MANNERS
    from local.experiment.job import Job
    from local.scoring.predictions import labels

    voice = given.voice or voice_of(experiments[0].corpus)
    classes = labels(experiments[0].predictions)
    refuse_unspeakable(experiments[0].corpus, classes, voice)
    refuse_other_tests(experiments)
    runs = [(each, run) for each in experiments for run in each.runs]
    speech: dict[str, list] = {}  # of each fold
    rows: list[dict[str, object]] = []
    for experiment, run in tqdm(runs, unit=" models", disable=not sys.stderr.isatty()):
        if run.name not in speech:
            texts = chosen_texts(manifest.read(Job.of_run(run).manifests / "test.csv"), given.sentences)
            if texts.empty:
                raise UserError(f"the test set of {run} has no transcripts", "take a corpus that has")
            speech[run.name] = spoken(texts, voice, classes)
            if given.wavs:
                keep(given.wavs, run.name, speech[run.name])
        rows += [{"name": str(experiment.folder)} | row for row in heard(run, speech[run.name], given.device)]
    table = pd.DataFrame(rows)
    said = table.drop_duplicates(["fold", "words", "text_emo"])
    of_several = said.groupby("words")["text_emo"].nunique() > 1
    seconds = sum(len(samples) for each in speech.values() for _, samples in each) / SAMPLE_RATE
    lacking = [label for label in classes if label not in MANNERS]
    counts = ", ".join(f"{label} {count}" for label, count in said["text_emo"].value_counts().items())
    notes = [
        f"{len(said)} texts ({counts}), {said['words'].nunique()} of them different, in {table['manner'].nunique()} "
        f"manners: {seconds / 60:.1f} minutes by the voice {voice} of espeak-ng.",
    ]
    if of_several.any():
        notes.append(
            f"{of_several.sum()} of the different texts are said in several emotions here, so that their words tell "
            "less."
        )
    if lacking:
        notes.append(f"No manner is known for: {' '.join(lacking)}; their words are spoken, their manner is not.")
    return table, notes


def keep(folder: Path, fold: str, speech: list[tuple[dict[str, str], np.ndarray]]) -> None:
    """Write what was spoken of a fold as wav files, `<fold>_<number>_<emotion of the words>_<manner>.wav`."""
    import soundfile

    from local.audio.header import SAMPLE_RATE

    folder.mkdir(parents=True, exist_ok=True)
    for number, (row, samples) in enumerate(speech, start=1):
        name = f"{fold}_{number:04}_{row['text_emo']}_{row['manner']}.wav"
        soundfile.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")


@as_command
def main() -> None:
    """Test the experiments of the command line."""
    logs.log_to_stderr()
    given = words()
    # Now that the words are known to be right: these take seconds to load.
    from local.pages.spoken import write
    from local.scoring import scored
    from local.scoring import words_and_manner as effects
    from local.scoring.predictions import labels

    folders = dict.fromkeys(map(experiment_of, given.experiments))
    experiments = [scored.load(folder) for folder in folders]
    scored.refuse_untrained(experiments)
    classes = labels(experiments[0].predictions)
    for each in experiments:
        if (each.corpus, labels(each.predictions)) != (experiments[0].corpus, classes):
            what = f"{each.folder} and {experiments[0].folder} are not of the same corpus and classes"
            raise UserError(what, "give experiments of one corpus")
    table, notes = listen(experiments, given)
    alone = len({each.name for each in experiments}) == len(experiments)
    sums = {
        each.name if alone else f"{each.protocol}/{each.name}": effects.effects(
            each.predictions, table[table["name"] == str(each.folder)], classes
        )
        for each in experiments
    }
    command = f"python -m local.reads_or_listens {shlex.join(sys.argv[1:])}"
    text = write(effects.compare(sums), notes, command, given.out)
    if given.csv:
        write_text(given.csv, table.to_csv(index=False, float_format="%.8f", lineterminator="\n"))
    print(text, end="")


if __name__ == "__main__":
    main()
