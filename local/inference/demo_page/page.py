"""The page itself: what is on it, and what its inputs do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from local.core.errors import UserError
from local.inference.demo_page import about
from local.inference.demo_page.analysis import EMPTY, Contents, Runs, analyze
from local.inference.demo_page.results import View
from local.inference.recognizer import EmotionRecognizer

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import
import gradio as gr

KEPT = 3600  # seconds; recordings of that age are deleted, once in as many seconds
MAX_UPLOAD = "2gb"
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
LEGIBLE = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
ASSETS = Path(__file__).parent

WAITING = "<p>The recording is analyzed.</p>"


def build(recognizer: EmotionRecognizer, names: Mapping[str, str], examples: list[Path]) -> gr.Blocks:
    """Build the page; gradio keeps what is uploaded in the folder that GRADIO_TEMP_DIR names by now.

    `names` are the model's labels with their words; `examples` are audio files in gradio's temporary folder, shown by
    their stems.
    """
    model = recognizer.model
    with_text = model.system.writes_text
    view = View(names, with_text, recognizer.confidence.threshold if recognizer.confidence else None)
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


def serve(page: gr.Blocks, host: str, port: int) -> str:
    """Serve the page in the background; return its address."""
    os.environ["no_proxy"] = "*"  # gradio sends a request to its own server
    _, url, _ = page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
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
    return url
