"""The analysis of a recording for the page: in steps that can be shown, and ended between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from local.audio import header
from local.audio.recordings import REMEDY
from local.core.errors import UserError
from local.inference.analyzer import Window
from local.inference.demo_page import lanes
from local.inference.demo_page.results import View
from local.inference.recognizer import EmotionRecognizer

GROWTH = 1.25  # windows are shown again when there are so many times as many
Contents = tuple[str, str]  # HTML of the emotion, and of the words and windows
EMPTY: Contents = "", ""


class Runs:
    """The analyses that are running, one for each open page, so that another request can end them."""

    def __init__(self) -> None:
        self._latest: dict[str, object] = {}

    def begin(self, page: str) -> Callable[[], bool]:
        """Begin one; it ends what was running for that page. Returns a function that says whether it goes on."""
        self._latest[page] = own = object()
        return lambda: self._latest.get(page) is own

    def end(self, page: str) -> None:
        """End what is running for a page."""
        self._latest.pop(page, None)


def analyze(
    recognizer: EmotionRecognizer,
    view: View,
    path: str,
    over_time: bool,
    goes_on: Callable[[], bool],
    progress: Callable[[float], None],
) -> Iterator[Contents | None]:
    """Analyze a recording: what is found so far, again and again, or None where a new window alone is no reason to.

    Ends with what it has when it no longer `goes_on`; calls `progress` with the share done. A recording that is too
    long to be analyzed at once is always shown over time. A `UserError` if it cannot be read or holds no samples.
    """
    try:
        duration = header.read_header(path).duration
    except OSError as error:
        raise UserError(f"{path}: {error}", REMEDY) from None
    if not over_time and duration <= recognizer.longest:
        analysis = recognizer.analyze(path)
        windows = [Window(0.0, analysis.duration, analysis)]
        yield view.summary(windows, whole=True), view.details(windows, whole=True)
        return
    windows, shown, done = [], 0, ""
    for window in recognizer.follow(path):
        windows.append(window)
        progress(min(window.end / duration, 1.0))
        done = f"{window.end:.1f} of {duration:.1f} s"
        if not goes_on():
            yield view.summary(windows, whole=False), view.details(windows, whole=False, done=f"stopped at {done}")
            return
        if len(windows) >= GROWTH * shown:
            shown = len(windows)
            yield view.summary(windows, whole=False), view.details(windows, whole=False, done=f"analyzed: {done}")
        else:
            yield None
    picture = lanes.of_recording(path, windows, view.names)
    yield view.summary(windows, whole=False), view.details(windows, whole=False, lanes=picture)
