"""Score a model that was not trained here on our folds, with our statistics, beside our own experiments.

    python -m local.referee --corpus C --protocol P PREDICTIONS.csv [MORE.csv ...] [--against EXPERIMENT]
    python -m local.referee --corpus C --protocol P --model MODEL [--against EXPERIMENT]

PREDICTIONS.csv has a row an utterance: ID, or wav (a path, or the file's name); the predicted label as emo_hyp, pred,
prediction, label or emotion; where there are any, posteriors as p_<label>, and a transcript as wrd_hyp or text; or as
--columns says. MODEL is a folder or hub name of a Hugging Face model for audio-classification, or what python -m
local.export wrote; it is run over the test sets. Stages 0 and 1 must have been run for the corpus and the protocol.

An utterance without a prediction counts as an error and is listed in missing.csv. Tables and report.html are written to
results/<corpus>/<protocol>/<name>, where local.compare and local.report take them as any experiment.

Exit codes: 0 every tested utterance has a prediction; 1 some have none; 2 an error in the command or the predictions.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.core import logs, partial
from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic, digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import columns, manifest, releases
from local.corpora.labels import fold
from local.experiment.folders import OF_RUN, REFEREE, experiment_of

if TYPE_CHECKING:
    import pandas as pd

    from local.corpora.label_map import LabelMap
    from local.experiment.options import Options
    from local.scoring.foreign import Foreign
    from local.scoring.scored import Experiment

OF_RUN_SH = ("corpus", "data", "protocol", "hold-text", "folds", "name", "partial", "force")
OF_MODEL = "model_predictions.csv"
OURS = ("ID", "wav", "emo_hyp", "wrd_hyp", "fold")  # columns of predictions that may be named
UNSAFE = r"[^A-Za-z0-9._+-]+"  # in a name


def parse_words(words: list[str]) -> tuple[argparse.Namespace, Options]:
    """Read the command line; a `UserError` for what is wrong with it."""
    parser = Parser(
        prog="python -m local.referee", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", nargs="*", type=Path, metavar="PREDICTIONS.csv")
    parser.add_argument("--model", help="a folder or hub name, in place of predictions")
    parser.add_argument("--corpus", required=True, help="as of run.sh; so are the next four")
    parser.add_argument("--data", default="")
    parser.add_argument("--protocol", default="")
    parser.add_argument("--hold-text", default="")
    parser.add_argument("--folds", default="", help="(default: those of the first experiment to compare with, or all)")
    parser.add_argument("--name", default="", help="of the results (default: that of the file or model)")
    parser.add_argument("--labels", default="", metavar="MAP", help="as of run.sh: the model's label, the corpus's")
    parser.add_argument("--columns", default="", help='"emo_hyp=THEIRS ...": of ID, wav, emo_hyp, wrd_hyp, fold')
    parser.add_argument("--against", action="append", default=[], type=Path, metavar="EXPERIMENT", help="of ours")
    parser.add_argument("--partial", default="false", help="true: leave out rows of utterances that are not known")
    parser.add_argument("--force", default="false", help="true: overwrite other results of this name")
    parser.add_argument("--device", help="of --model: cpu, cuda, ... (default a GPU if there is one)")
    given = parser.parse_args(words)
    if bool(given.predictions) == bool(given.model):
        raise UserError("give either predictions or --model", parser.format_usage().removeprefix("usage: ").strip())
    if len(given.predictions) > 1 and not given.name:
        raise UserError("several files have no one name", "--name NAME for the results")
    if given.columns and given.model:
        raise UserError("--columns is of predictions", "leave it out")
    given.columns = columns.parse(given.columns, OURS)
    given.name = given.name or _name(given.model or given.predictions[0].stem)
    # Only now, so that what is wrong above is said at once.
    from local.corpora import label_map
    from local.experiment.command_line import parse

    given.labels = label_map.locate(given.labels, Path()) if given.labels else None
    return given, parse([f"--{name}={vars(given)[name.replace('-', '_')]}" for name in OF_RUN_SH])


def _name(source: str) -> str:
    return re.sub(UNSAFE, "-", Path(source).name).strip("-.") or "model"


def referee(given: argparse.Namespace, options: Options) -> int:
    """Score; returns how many utterances have no prediction."""
    # Now that the words are known to be right: these take seconds to load.
    from local.core import starts
    from local.corpora.label_map import LabelMap
    from local.experiment.options import check
    from local.experiment.tested import tested_sets
    from local.pages.foreign import write_against, write_foreign
    from local.pages.report import write_report
    from local.scoring import foreign, foreign_files, scored

    check(options, options.table)
    tests, classes = tested_sets(options), manifest.labels(options.used)
    others = [scored.load(folder) for folder in dict.fromkeys(map(experiment_of, given.against))]
    folds = choose_folds(options, [*tests], others)
    labels = LabelMap.read(given.labels, least=0) if given.labels else None
    folder = options.experiment_folder
    refuse_trained(folder)
    inputs = {"utterances": digest(options.corpus_folder / "all.csv"), "folds": folds} | source_of(given)
    asked = {"labels": labels.written if labels else {}, "partial": options.partial}
    asked |= {"columns": given.columns} if given.columns else {}
    whole = Marker(folder / REFEREE, inputs | asked)
    whole.is_done(f"the referee's tables: {folder}", options.force)  # refuses other inputs; these take seconds again
    paths, facts = given.predictions, {}
    if given.model:
        marker = Marker((folder / OF_MODEL).with_suffix(".json"), inputs)
        facts = run_model(given, options, [tests[name] for name in folds], labels, marker)
        paths = [folder / OF_MODEL]
    files = foreign_files.read(paths, tests, given.columns)
    mapped = foreign.labels_of(files, classes, labels)
    found = foreign.on_folds(files, mapped, options.table, options.data_root, tests, folds, options.partial)
    refuse_references(given, found)
    setup, odd = describe(given, found, inputs, facts), warnings(given, options, found, labels, facts)
    command = starts.command_line(starts.command())
    whole.write()  # first: by it the folder is known to hold no experiment
    text = write_foreign(options, found, [*tests], command, setup, odd)
    text += write_against(folder, others)
    print(f"== referee {folder}\n\n{text}\n{write_report(folder)}")
    return len(found.missing)


def choose_folds(options: Options, known: list[str], others: list[Experiment]) -> list[str]:
    """The folds of `--folds`, or those of the first experiment to compare with, or all.

    A `UserError` if an experiment is of another corpus, protocol, or of other folds.
    """
    from local.experiment.options import pick

    for other in others:
        for what, here in (("corpus", options.corpus), ("protocol", options.protocol_name)):
            if getattr(other, what) != here:
                raise UserError(
                    f"{other.folder} is of {what} {getattr(other, what)}, not {here}",
                    f"give an experiment in results/{options.corpus}/{options.protocol_name}",
                )
    of_others = {other.folder: sorted(other.folds["fold"].unique()) for other in others}
    folds = pick(options.folds or tuple(next(iter(of_others.values()), ())), known, options.chosen_protocol())
    for folder, tested in of_others.items():
        if tested != sorted(folds):
            raise UserError(
                f"{folder} is of the folds {' '.join(tested)}, and the predictions are scored on {' '.join(folds)}",
                "give --folds as that experiment has, or compare later: python -m local.compare",
            )
    return folds


def refuse_trained(folder: Path) -> None:
    """Refuse the results folder of a system that is trained here, also with `--force`."""
    is_ours = (folder / "folds.csv").exists() and not (folder / REFEREE).exists()
    if is_ours or any(folder.glob(f"seed*/*/{OF_RUN}")):
        raise UserError(f"{folder} is of a system that is trained here", "give another --name")


def refuse_references(given: argparse.Namespace, found: Foreign) -> None:
    """Raise a UserError where the labels are the references, in a column that may be the corpus's own by its name."""
    from local.scoring.foreign import labels_are_references
    from local.scoring.foreign_files import is_named_as_references

    column = found.files.taken["label"]
    if given.columns.get("emo_hyp") or not is_named_as_references(column) or not labels_are_references(found):
        return
    raise UserError(
        f"column {column} has the corpus's own label in every row: it is the reference, and no prediction",
        f"name the column of predictions, or this one if it has them: {columns.option({'emo_hyp': 'COLUMN'})}",
    )


def source_of(given: argparse.Namespace) -> dict[str, Any]:
    """What is scored, as inputs of a marker: the files' contents by name, or the model and its version."""
    if given.predictions:
        try:
            several = len(given.predictions) > 1  # of one name, perhaps, in folders named after folds
            named = ("/".join(path.absolute().parts[-2:]) if several else path.name for path in given.predictions)
            digests = map(digest, given.predictions)
            return {"predictions": [f"{name} {known}" for name, known in zip(named, digests, strict=True)]}
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read: {error.strerror}", "give a CSV of predictions") from None
    from local.config.pretrained import without_folder
    from local.experiment.encoder_version import encoder_version
    from local.inference.foreign_card import read_config

    read_config(given.model)  # of the hub it is then in the cache, with the commit that is its version
    return {"model": without_folder("encoder", given.model), "version": encoder_version(given.model)}


def run_model(
    given: argparse.Namespace, options: Options, tests: list[pd.DataFrame], labels: LabelMap | None, marker: Marker
) -> dict[str, Any]:
    """Run a model over the test sets, unless that is done, and write its predictions; returns the marker's facts.

    Of a run that was interrupted it goes on with the utterances that are left.
    """
    if (facts := marker.facts()) is not None:
        print(f"  {marker.path.with_suffix('.csv')} is already made")
        return facts
    import pandas as pd

    from local.inference.foreign_model import load, write_predictions
    from local.scoring.foreign_labels import map_labels

    model = load(given.model, given.device)
    map_labels(model.labels, manifest.labels(options.used), labels, complete=True)  # before hours are spent
    utterances = pd.concat(tests).drop_duplicates("ID")
    files = dict(zip(utterances["ID"], manifest.resolve(utterances["wav"], options.data_root), strict=True))
    path = marker.path.with_suffix(".csv")
    unfinished = path.with_name(f"{path.stem}-{digest(json.dumps(marker.inputs))}.csv")  # of this model and these files
    with locked(path.with_name(".lock"), f"runs {given.model}"):
        if (facts := marker.facts()) is not None:  # another has made it meanwhile
            return facts
        write_predictions(model, files, unfinished)
        with atomic(path, "wb") as file:
            file.write(unfinished.read_bytes())
        marker.write(
            [path],
            origin=model.provenance,
            longest=model.longest if model.longest < float("inf") else None,
            cut=int((utterances["duration"] > model.longest).sum()),
        )
        unfinished.unlink()
        partial.forget(unfinished)
    return marker.facts() or {}


def _origin(origin: dict[str, Any]) -> str:
    """Protocol and folds of a model that was exported from here."""
    return f"protocol {origin.get('protocol')}, fold {', '.join(map(str, origin.get('folds', [])))}"


def describe(
    given: argparse.Namespace, found: Foreign, inputs: dict[str, Any], facts: dict[str, Any]
) -> list[tuple[str, str]]:
    """What is scored, as names and values to show."""
    files, taken = found.files, found.files.taken
    columns = {"utterance": taken["key"], "label": taken["label"] or "the likeliest posterior"}
    columns |= {name: taken[name] for name in ("text", "fold") if taken[name]}
    named = f"{inputs['model']}, version {inputs['version']}" if given.model else ", ".join(inputs["predictions"])
    origin = facts.get("origin", {})
    itself = [f"corpus {origin['corpus']}, {_origin(origin)}"] if origin.get("corpus") else []
    return [
        ("model" if given.model else "predictions", named),
        *(("trained on, as it says itself", words) for words in itself),
        ("columns", ", ".join(f"{what}: {name}" for what, name in columns.items())),
        ("posteriors", f"of {' '.join(files.labels)}" if files.labels else "none"),
        ("labels", ", ".join(found.mapped.lines()) or "as the corpus's"),
    ]


def warnings(
    given: argparse.Namespace, options: Options, found: Foreign, labels: LabelMap | None, facts: dict[str, Any]
) -> list[str]:
    """What is odd about the predictions, or the model: sentences without their point."""
    from local.corpora.aliases import named_in
    from local.inference.foreign_card import card, quoted
    from local.scoring.foreign import decisions_differ, is_reference, labels_are_references

    said = []
    corpora = {options.corpus, *manifest.column(options.table, "corpus")} - {""}
    if given.model and (lines := named_in(card(given.model), sorted(corpora))):
        said.append(f"the model's card names the corpus that is tested: {quoted(lines)}")
    origin = facts.get("origin", {})
    before, tested = origin.get("before"), set().union(*map(releases, corpora))
    for each in [origin, *(before if isinstance(before, list) else [])]:  # of a model that it continued from, too
        # Of its own fold a model was not trained on the test set.
        made = each.get("corpus"), each.get("protocol"), each.get("folds")
        is_own = made == (options.corpus, options.protocol_name, [*found.tables]) and len(found.tables) == 1
        if releases(str(each.get("corpus"))) & tested and not is_own:
            said.append(f"the model was trained on this corpus ({_origin(each)}): what it was trained on may be tested")
    if facts.get("cut"):
        said.append(f"the model takes {facts['longest']:g} s: of {facts['cut']} longer utterances the rest is cut off")
    if differing := decisions_differ(found.files.rows, found.mapped):
        said.append(f"{differing} labels are not the likeliest of their posteriors: they are taken as they are")
    if is_reference(found):
        said.append(f"every transcript is the reference: is column {found.files.taken['text']} what the model wrote?")
    if labels_are_references(found):
        said.append(f"every label is the reference: is column {found.files.taken['label']} what the model predicted?")
    listed = labels.written if labels and not labels.is_ready else {}
    known = {fold(label) for label in found.files.labels}
    if known and (strange := sorted(label for label in listed if fold(label) not in known)):
        said.append(f"--labels has labels that the model has not: {', '.join(strange)}")
    return said


@as_command
def main() -> None:
    """Score the predictions, or the model, of a command line."""
    logs.log_to_stderr()
    if referee(*parse_words(sys.argv[1:])):
        sys.exit(1)


if __name__ == "__main__":
    main()
