"""Emotion and transcript of audio files, line by line.

    python -m local.predict --model MODEL FILES and FOLDERS [--format table|csv|jsonl]
    find calls -name '*.flac' | python -m local.predict --model MODEL --format jsonl - > calls.jsonl
    python -m local.predict --model MODEL --segments --plot pictures --format csv meeting.mp3

MODEL is what `python -m local.export` wrote. Of a folder all files are taken whose suffix is of audio, those of the
folders in it too; `-` reads names of files, one a line. Every file has its line, in the order in which they are given;
a file that cannot be read has the reason in it. With --segments a recording of any length is cut into windows
where it is quiet, a line each; without, what is longer than a minute, or than training's longest, is refused.

Exit codes: 0 every file was read; 1 some were not; 2 a mistake in the command or the model.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from local.core import logs  # before anything of SpeechBrain
from local.core.errors import Parser, UserError, as_command
from local.inference.analyze import Answer, analyze_items
from local.inference.items import files, whole_items, window_items
from local.inference.lines import FORMATS
from local.inference.recognizer import EmotionRecognizer, Window


def draw_each(answers: Iterable[Answer], labels: list[str], folder: Path) -> Iterator[Answer]:
    """Draw each file's emotion over time into a folder on the way, `<stem>.png`."""
    from local.inference.timeline import draw  # matplotlib takes two seconds to load

    drawn: set[str] = set()
    for file, of_file in itertools.groupby(answers, key=lambda answer: answer[0].file):
        heard = []
        for item, analysis in of_file:
            yield item, analysis
            if analysis is not None:
                heard.append(Window(item.start, item.end, analysis))
        if heard:
            stem = Path(file).stem
            names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
            name = next(name for name in names if name not in drawn)
            drawn.add(name)
            draw(heard, labels, folder / f"{name}.png", title=Path(file).name)


def predict(given: argparse.Namespace) -> bool:
    """Write a line for each file or window; tell whether every file was read."""
    recognizer = EmotionRecognizer.from_hparams(
        given.model, run_opts={"device": given.device, "precision": given.precision}
    )
    found = files(given.audio)
    items = window_items(found, recognizer.window) if given.segments else whole_items(found, recognizer.longest)
    answers = analyze_items(items, recognizer, given.batch_seconds, words=given.format == "jsonl")
    if given.plot:
        answers = draw_each(answers, recognizer.labels, given.plot)
    lines = FORMATS[given.format](sys.stdout, recognizer.labels, given.segments)
    bad = 0
    with tqdm(unit=" windows" if given.segments else " files", disable=not sys.stderr.isatty()) as progress:
        for item, analysis in answers:
            lines.write(item, analysis)
            bad += analysis is None
            progress.update()
    if bad:
        print(f"{bad} of the lines above hold an error", file=sys.stderr)
    return not bad


@as_command
def main() -> None:
    """Read the command line."""
    logs.log_to_stderr()
    parser = Parser(
        prog="python -m local.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="+", metavar="FILE, FOLDER or -")
    parser.add_argument("--model", required=True, help="a folder that python -m local.export wrote")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--segments", action="store_true", help="windows of recordings of any length")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="with --segments, a picture of each file there")
    parser.add_argument("--batch-seconds", type=float, default=120, help="padded seconds at a time (default 120)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default a GPU if there is one")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    given = parser.parse_args(sys.argv[1:])
    if given.plot and not given.segments:
        raise UserError("--plot draws windows", "give --segments with it")
    if not given.batch_seconds > 0:
        raise UserError(f"--batch-seconds {given.batch_seconds:g}: nothing would pass", "give more than 0")
    # Names that are no UTF-8 come and go.
    sys.stdin.reconfigure(errors="surrogateescape")
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    sys.exit(0 if predict(given) else 1)


if __name__ == "__main__":
    main()
