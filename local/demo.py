"""A web page that shows the emotion and the words of a recording.

    python -m local.demo --model MODEL [--host 127.0.0.1] [--port 7860] [--device cuda]

MODEL is a folder that `python -m local.export` wrote. The page is served to this machine alone, unless --host says
otherwise, and loads nothing from elsewhere. Recordings are kept in a temporary folder for up to two hours; it is
deleted when the server ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

import soundfile

from local.audio import header
from local.audio.recordings import REMEDY
from local.audio.survey import FLAGS
from local.core.errors import Parser, UserError, as_command
from local.corpora import espeak
from local.corpora.mini import MANNERS, VOICES
from local.inference import timeline
from local.inference.model_folder import Model
from local.inference.recognizer import Analysis, EmotionRecognizer, Window

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import
import gradio as gr

EXAMPLES = {  # sentence, voice and manner of the mini corpus
    "fast": ("I told you twice already, and you never listen to me!", VOICES["01M"], MANNERS["ang"]),
    "even": ("The train to the harbour leaves at half past nine.", VOICES["02F"], MANNERS["neu"]),
    "slow": ("There was nobody left at the house when we came back.", VOICES["03M"], MANNERS["sad"]),
}
KEPT = 3600  # seconds; recordings of that age are deleted, once in as many seconds
MAX_UPLOAD = "2gb"
WORDS = ["word", "from (s)", "to (s)", "score"]
WINDOWS = ["from (s)", "to (s)", "emotion", "probability", "transcript", "remarks"]
WIDTHS = [95, 95, 120, 120, 380, 120]  # of those columns, in pixels; a narrow window scrolls
ORIGIN = ("corpus", "protocol", "folds", "encoder")  # the keys of a model's provenance that are shown
CAUTION = (
    "Emotion labels are categories that somebody acted or that listeners perceived. They are not a person's state of "
    "mind, and a probability says how sure the model is, not that it is right. Do not make decisions about people "
    "from them."
)
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
LEGIBLE = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
STYLE = """
.gradio-container { width: 100%; max-width: 68rem !important; margin: 0 auto !important; }
.about dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1.25rem; margin: 0 0 0.75rem; }
.about dt { color: var(--body-text-color-subdued); }
.about dd { margin: 0; overflow-wrap: anywhere; }
.about h2 { font-size: 1rem; font-weight: 600; margin: 0 0 0.5rem; }
.about p { margin: 0; max-width: 46rem; }
"""


def analyze(
    recognizer: EmotionRecognizer, path: str, over_time: bool, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Analyze a recording: the contents of the page's parts, by their names; calls `progress` with the share done.

    A recording that is too long to be analyzed at once is always shown over time. A `UserError` if it cannot be read
    or holds no samples.
    """
    try:
        duration = header.read_header(path).duration
    except OSError as error:
        raise UserError(f"{path}: {error}", REMEDY) from None
    if not over_time and duration <= recognizer.longest:
        analysis = recognizer.analyze(path)
        transcript = analysis.transcript or "(no words)"
        parts = {"posteriors": analysis.posteriors, "transcript": transcript, "words": word_rows(analysis)}
        return parts | {"remarks": remarks([analysis])}
    windows = []
    for window in recognizer.follow(path):
        windows.append(window)
        progress(window.end / duration)
    picture = timeline.waveform(path, windows, recognizer.labels)
    notes = remarks([window.analysis for window in windows]) if windows else "- silent throughout: no speech found"
    return {"picture": picture, "windows": window_rows(windows), "remarks": notes}


def word_rows(analysis: Analysis) -> list[list[str]]:
    """Rows of `WORDS`."""
    return [[word.text, f"{word.start:.2f}", f"{word.end:.2f}", f"{word.score:.2f}"] for word in analysis.words]


def window_rows(windows: Iterable[Window]) -> list[list[str]]:
    """Rows of `WINDOWS`."""
    rows = []
    for start, end, analysis in windows:
        emotion, flags = analysis.emotion, ", ".join(analysis.flags)
        share = f"{analysis.posteriors[emotion]:.0%}"
        rows.append([f"{start:.2f}", f"{end:.2f}", emotion, share, analysis.transcript, flags])
    return rows


def remarks(analyses: Iterable[Analysis]) -> str:
    """The flags of a recording and their meanings, a line each."""
    flags = {flag for analysis in analyses for flag in analysis.flags}
    return "\n".join(f"- {flag}: {meaning}" for flag, meaning in FLAGS.items() if flag in flags)


def about(model: Model) -> str:
    """The training data and the labels of a model, as HTML."""
    facts = {name: model.provenance[name] for name in ORIGIN if model.provenance.get(name)}
    facts |= {"labels": model.labels, "longest utterance": f"{model.max_seconds:.1f} s"}
    lines = "".join(
        f"<dt>{name}</dt><dd>{escape(', '.join(map(str, fact)) if isinstance(fact, list) else str(fact))}</dd>"
        for name, fact in facts.items()
    )
    return f"<h2>This model was trained on</h2><dl>{lines}</dl><p>{CAUTION}</p>"


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
    with gr.Blocks(title="ser-mtl", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown("# Emotion and words of speech\nUpload or record speech, then press Analyze.")
        with gr.Row():
            with gr.Column():
                recording = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="Recording",
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
                over_time = gr.Checkbox(
                    label="Emotion over time", info=f"Always on for more than {recognizer.longest:.0f} s."
                )
                button = gr.Button("Analyze", variant="primary")
            with gr.Column():
                parts = {
                    "posteriors": gr.Label(label="Emotion", visible=False),
                    "transcript": gr.Textbox(label="Transcript", interactive=False, visible=False),
                    "remarks": gr.Markdown(visible=False, container=True),
                    "words": _table("Words", WORDS),
                }
        parts["picture"] = gr.Plot(show_label=False, visible=False)
        parts["windows"] = _table("Windows", WINDOWS, wrap=True, column_widths=WIDTHS)
        gr.HTML(about(recognizer.model), elem_classes="about", container=True, padding=True)

        def update(contents: dict[str, Any]) -> dict:
            values = {part: contents.get(name) for name, part in parts.items()}
            return {part: gr.update(value=value, visible=bool(value)) for part, value in values.items()}

        def show(path: str | None, over_time: bool, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
            if path is None:
                raise gr.Error("Upload or record speech first.", print_exception=False)
            try:
                contents = analyze(recognizer, path, over_time, lambda share: progress(min(share, 1.0), "analyzing"))
            except UserError as error:
                message = escape(f"{error.what.replace(path, Path(path).name)}; {error.remedy}")
                raise gr.Error(message, duration=None, print_exception=False) from None
            return update(contents)

        outputs = list(parts.values())
        recording.change(lambda: update({}), None, outputs, show_progress="hidden", api_visibility="private")
        button.click(show, [recording, over_time], outputs, show_progress_on=recording, api_visibility="private")
    return page


def _table(label: str, headers: list[str], **settings: Any) -> gr.Dataframe:
    settings |= {"interactive": False, "visible": False, "max_height": 360, "buttons": []}
    return gr.Dataframe(label=label, headers=headers, datatype="str", **settings)


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
            css=STYLE,
        )
        print(f"serving at {url}; Ctrl-C ends the server", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
