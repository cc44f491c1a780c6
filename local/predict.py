"""Emotion and, where the model writes text, transcript of audio files, one line each.

    python -m local.predict --model MODEL FILES and FOLDERS [--format table|csv|jsonl]
    find calls -name '*.flac' | python -m local.predict --model MODEL --format jsonl - > calls.jsonl
    python -m local.predict --model MODEL --segments --plot pictures --format csv meeting.mp3

MODEL is a folder that `python -m local.export` wrote. Of a FOLDER all files are taken whose suffix is one of audio or
video, also in its subfolders and in folders that links lead to; macOS's `._` files and `__MACOSX` are left out. `-`
reads file names from stdin: one a line, or separated by zero bytes (`find -print0`), in UTF-8 or UTF-16. Every file has
its line, in the given order; the line of a file that cannot be read gives the reason. With --segments a recording of
any length is cut at its pauses into windows, one line each; without it, one that is longer than a minute and than the
longest utterance of training is refused.

Exit codes: 0 every file was read; 1 some were not; 2 an error in the command or the model; 70 a fault of this program,
with a traceback: no file is to blame, and lines may be missing.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from local.core import garbage, logs
from local.core.errors import FULL, Parser, UserError, as_command
from local.core.precisions import PRECISIONS
from local.inference.unsure import threshold

if TYPE_CHECKING:
    from local.inference.analyzer import Analysis
    from local.inference.items import Item

FORMATS = ("table", "csv", "jsonl")  # of `local.inference.lines`
FAULT = 70  # the exit code of a fault of the program, as of sysexits.h


def draw_each(
    results: Iterable[tuple[Item, Analysis | None]], labels: list[str], folder: Path
) -> Iterator[tuple[Item, Analysis | None]]:
    """Pass results on, and draw each file's emotion over time to `<stem>.png` in a folder."""
    from local.inference.analyzer import Window
    from local.inference.timeline import draw

    taken: set[str] = set()
    latest = ("", 0.0, 0)  # file and start of a window, and the number of its pass: a file may be given twice in a row

    def pass_of(result: tuple[Item, Analysis | None]) -> tuple[str, int]:
        nonlocal latest
        file, start, number = latest
        now, begins = result[0].file, result[0].start or 0.0
        latest = (now, begins, number + (now != file or begins <= start))
        return now, latest[2]

    for (file, _), group in itertools.groupby(results, key=pass_of):
        windows = []
        for item, analysis in group:
            yield item, analysis
            if analysis is not None:
                windows.append(Window(item.start, item.end, analysis))
        if windows:
            stem = Path(file).stem
            names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
            name = next(name for name in names if name not in taken)
            taken.add(name)
            draw(windows, labels, folder / f"{name}.png", title=Path(file).name)


def predict(options: argparse.Namespace) -> int:
    """Write a line for each file or window; return how many have an error."""
    garbage.ignore()  # now that the command line is known to be right, and these take seconds to load
    from tqdm import tqdm

    from local.inference import lines
    from local.inference.analyzer import Analyzer
    from local.inference.items import analyze_items, files, whole_items, window_items

    recognizer = Analyzer.load(options.model, None, options.unsure, device=options.device, precision=options.precision)
    garbage.collect()
    items = files(options.audio)
    items = window_items(items, recognizer.window) if options.segments else whole_items(items, recognizer.longest)
    results = analyze_items(items, recognizer, options.batch_seconds, words=options.format == "jsonl")
    if options.plot:
        results = draw_each(results, recognizer.labels, options.plot)
    unsure, heads = options.unsure is not None, [*recognizer.tasks]
    shown = lines.Shown(recognizer.labels, options.segments, recognizer.writes_text, unsure, heads)
    out = lines.FORMATS[options.format](sys.stdout, shown)
    errors = 0
    with tqdm(unit=" windows" if options.segments else " files", disable=not sys.stderr.isatty()) as progress:
        for item, analysis in results:
            out.write(item, analysis)
            errors += analysis is None
            progress.update()
    return errors


def make_folder(path: Path) -> None:
    """Make the folder of the pictures; a UserError where none can be, before anything is analyzed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--plot {path}: there can be no such folder ({error.strerror})", "give a folder") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"--plot {path}: the folder may not be written", "give another")


@as_command
def main() -> None:
    """Analyze the files of a command line."""
    logs.log_to_stderr()
    parser = Parser(
        prog="python -m local.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="+", metavar="FILE, FOLDER or -")
    parser.add_argument("--model", required=True, help="a folder that python -m local.export wrote")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--segments", action="store_true", help="cut recordings of any length into windows")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="with --segments, draw each file there")
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=120,
        help="seconds in a batch (default 120); padding counts if it is computed",
    )
    parser.add_argument(
        "--unsure",
        metavar="THRESHOLD",
        help="say which are unsure: whose highest posterior, calibrated by the model's temperature, is below it",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default a GPU if there is one)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="others are faster where the hardware has them; in bf16 posteriors differ in the second or third digit",
    )
    options = parser.parse_args(sys.argv[1:])
    threshold(options.unsure)
    if options.plot and not options.segments:
        raise UserError("--plot draws windows", "give --segments with it")
    if options.plot:
        make_folder(options.plot)
    if not options.batch_seconds > 0:
        raise UserError(f"--batch-seconds {options.batch_seconds:g} is not above 0", "give a number of seconds")
    if sys.stdout is None:
        raise UserError("the standard output is closed, and results go there", "leave out >&-")
    # File names need not be UTF-8.
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        errors = predict(options)
    except Exception as error:
        if isinstance(error, UserError) or getattr(error, "errno", None) in (*FULL, errno.EPIPE):
            raise
        traceback.print_exc()
        sys.exit(FAULT)
    if errors:
        print(f"error in {errors} of the lines above", file=sys.stderr)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
