"""A web page that shows the emotion and the words of a recording.

    python -m local.demo --model MODEL [--host 127.0.0.1] [--port 7860] [--device cuda] [--unsure 0.6]

MODEL is a folder that `python -m local.export` wrote. What is uploaded or recorded is analyzed at once, until Stop is
pressed; a click on a window plays it. The page also says how good the model is, and who spoke in its training. It is
served to this machine alone, unless --host says otherwise, and loads nothing from elsewhere. Recordings are kept in a
temporary folder for up to two hours; it is deleted when the server ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local.core import signals
from local.core.errors import Parser, UserError, as_command
from local.inference.unsure import threshold

if TYPE_CHECKING:
    from local.inference.model_folder import Model

EXAMPLES = {  # sentence, voice and manner of the mini corpus
    "fast": ("I told you twice already, and you never listen to me!", "01M", "ang"),
    "even": ("The train to the harbour leaves at half past nine.", "02F", "neu"),
    "slow": ("There was nobody left at the house when we came back.", "03M", "sad"),
}


def names_of(model: Model) -> dict[str, str]:
    """The labels of a model, with the words that its corpus has for them."""
    from local import corpora

    words = corpora.about(str(model.provenance.get("corpus"))).labels
    return {label: words.get(label, label) for label in model.labels}


def speak_examples(folder: Path) -> list[Path]:
    """Write each of `EXAMPLES`, spoken by a synthetic voice, to a file."""
    import soundfile

    from local.corpora import espeak
    from local.corpora.mini import MANNERS, VOICES

    paths = []
    for name, (text, voice, emotion) in EXAMPLES.items():
        how = MANNERS[emotion]
        wav, rate = espeak.speak(text, VOICES[voice], round(how.rate), round(how.pitch), round(how.pitch_range))
        paths.append(folder / f"{name}.wav")
        soundfile.write(paths[-1], wav, rate)
    return paths


def refuse_busy(host: str, port: int) -> None:
    """Raise a UserError if no server can listen at an address."""
    if not 1 <= port <= 65_535:
        raise UserError(f"--port {port} is not a port", "give one from 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        what = f"no server can listen at {host}, port {port}: {error.strerror}"
        raise UserError(what, "give another --port, or another --host") from None


@as_command
def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = Parser(
        prog="python -m local.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a folder that python -m local.export wrote")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 serves other machines too (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="default 7860")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default a GPU if there is one)")
    parser.add_argument(
        "--unsure",
        metavar="THRESHOLD",
        help="mark what is unsure: whose highest posterior, calibrated by the model's temperature, is below it",
    )
    options = parser.parse_args(sys.argv[1:])
    threshold(options.unsure)
    refuse_busy(options.host, options.port)
    # Now that the command line is known to be right: these take many seconds to load.
    from local.inference.demo_page.page import build, serve
    from local.inference.recognizer import EmotionRecognizer

    run_opts = {"device": options.device}
    recognizer = EmotionRecognizer.from_hparams(options.model, run_opts=run_opts, unsure=options.unsure)
    try:
        # What an analysis writes there meanwhile must not keep the server from its end.
        with tempfile.TemporaryDirectory(prefix="ser-mtl-demo-", ignore_cleanup_errors=True) as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder
            page = build(recognizer, names_of(recognizer.model), speak_examples(Path(folder)))
            url = serve(page, options.host, options.port)
            print(f"serving at {url}; Ctrl-C ends the server", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        os._exit(signals.exit_code(signal.SIGINT))
    except SystemExit as end:  # of another signal
        os._exit(end.code)  # at once: Python would wait for gradio's threads, and torch abort while one computes


if __name__ == "__main__":
    main()
