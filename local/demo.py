"""A web page that shows the emotion and the words of a recording.

    python -m local.demo --model MODEL [--host 127.0.0.1] [--port 7860] [--device cuda]

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
from collections.abc import Iterator
from html import escape
from pathlib import Path

import soundfile

from local import corpora
from local.core.errors import Parser, UserError, as_command
from local.corpora import espeak
from local.corpora.mini import MANNERS, VOICES
from local.inference import demo_page
from local.inference.demo_page import about
from local.inference.demo_page.analysis import EMPTY, Contents, Runs, analyze
from local.inference.demo_page.results import View
from local.inference.model_folder import Model
from local.inference.recognizer import EmotionRecognizer

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import
import gradio as gr

EXAMPLES = {  # sentence, voice and manner of the mini corpus
    "fast": ("I told you twice already, and you never listen to me!", VOICES["01M"], MANNERS["ang"]),
    "even": ("The train to the harbour leaves at half past nine.", VOICES["02F"], MANNERS["neu"]),
    "slow": ("There was nobody left at the house when we came back.", VOICES["03M"], MANNERS["sad"]),
}
KEPT = 3600  # seconds; recordings of that age are deleted, once in as many seconds
MAX_UPLOAD = "2gb"
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
LEGIBLE = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
ASSETS = Path(demo_page.__file__).parent

WAITING = "<p>The recording is analyzed.</p>"


def names_of(model: Model) -> dict[str, str]:
    """The labels of a model, with the words that its corpus has for them."""
    words = corpora.about(str(model.provenance.get("corpus"))).labels
    return {label: words.get(label, label) for label in model.labels}


def speak_examples(folder: Path) -> list[Path]:
    """Write each of `EXAMPLES`, spoken by a synthetic voice, to a file."""
    paths = []
    for name, (text, voice, manner) in EXAMPLES.items():
        wav, rate = espeak.speak(text, voice, round(manner.rate), round(manner.pitch), round(manner.pitch_range))
        paths.append(folder / f"{name}.wav")
        soundfile.write(paths[-1], wav, rate)
    return paths


def build(recognizer: EmotionRecognizer, examples: list[Path]) -> gr.Blocks:
    """Build the page; `examples` are audio files in gradio's temporary folder, shown by their stems."""
    model = recognizer.model
    with_text = model.system.writes_text
    view = View(names_of(model), with_text)
    with gr.Blocks(title="ser-mtl", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        title = "Emotion and words of speech" if with_text else "Emotion of speech"
        gr.Markdown(f"# {title}\nUpload or record speech; the analysis begins by itself.")
        with gr.Row():
            with gr.Column():
                recording, over_time = _inputs(recognizer, examples)
                stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop")
            with gr.Column():
                summary = _html()
        details = _html()
        _html(about.about(model, view.names), visible=True)
        _connect(recognizer, view, (recording, over_time), (summary, details, stop))
    return page


def _connect(
    recognizer: EmotionRecognizer,
    view: View,
    inputs: tuple[gr.Audio, gr.Checkbox],
    outputs: tuple[gr.HTML, gr.HTML, gr.Button],
) -> None:
    """Say what the page does: an input that changes begins an analysis, and the button ends it."""
    runs = Runs()

    def update(contents: Contents, running: bool) -> list[dict]:
        return [gr.update(value=each, visible=bool(each)) for each in contents] + [gr.update(visible=running)]

    def clear(request: gr.Request) -> list[dict]:
        runs.end(request.session_hash)
        return update(EMPTY, running=False)

    def halt(request: gr.Request) -> dict:
        runs.end(request.session_hash)
        return gr.update(visible=False)

    def show(
        path: str | None,
        over_time: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[dict] | dict]:
        if path is None:
            yield update(EMPTY, running=False)
            return
        contents = WAITING, ""
        yield update(contents, running=True)
        goes_on = runs.begin(request.session_hash)
        try:
            found = analyze(recognizer, view, path, over_time, goes_on, lambda share: progress(share, "analyzing"))
            for newer in found:
                contents = newer or contents
                yield update(contents, running=True) if newer else gr.skip()
        except UserError as error:
            yield update(EMPTY, running=False)
            message = escape(f"{error.what.replace(path, Path(path).name)}; {error.remedy}")
            raise gr.Error(message, duration=None, print_exception=False) from None
        yield update(contents, running=False)

    quiet = {"show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}
    recording, over_time = inputs
    cleared = gr.on([recording.change, over_time.change], clear, None, outputs, **quiet)
    # In one queue: the new analysis of a page begins when that before it has ended.
    cleared.then(show, inputs, outputs, **quiet | {"show_progress": "full", "show_progress_on": outputs[0]})
    outputs[-1].click(halt, None, outputs[-1], **quiet)


def _inputs(recognizer: EmotionRecognizer, examples: list[Path]) -> tuple[gr.Audio, gr.Checkbox]:
    recording = gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label="Recording",
        elem_id="recording",
        buttons=[],
        # Drawing it would decode the whole file in the browser.
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),
    )
    gr.Examples(
        [[str(path)] for path in examples],
        recording,
        label="Examples, spoken by a synthetic voice",
        example_labels=[path.stem for path in examples],
        api_visibility="private",
        preload=False,
    )
    info = f"Always on for more than {recognizer.longest:.0f} s."
    return recording, gr.Checkbox(label="Emotion over time", info=info)


def _html(value: str = "", visible: bool = False) -> gr.HTML:
    return gr.HTML(value, visible=visible, container=True, padding=True, apply_default_css=False, js_on_load=None)


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
    options = parser.parse_args(sys.argv[1:])
    refuse_busy(options.host, options.port)
    recognizer = EmotionRecognizer.from_hparams(options.model, run_opts={"device": options.device})
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the temporary folder is deleted
    with tempfile.TemporaryDirectory(prefix="ser-mtl-demo-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "no_proxy": "*"}  # gradio sends a request to its own server
        page = build(recognizer, speak_examples(Path(folder)))
        _, url, _ = page.launch(
            server_name=f"[{options.host}]" if ":" in options.host else options.host,
            server_port=options.port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            max_file_size=MAX_UPLOAD,
            theme=gr.themes.Default(primary_hue="blue", font=FONT, font_mono=FONT).set(**LEGIBLE),
            css_paths=ASSETS / "page.css",
            js=(ASSETS / "page.js").read_text(encoding="utf-8"),
        )
        print(f"serving at {url}; Ctrl-C ends the server", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
