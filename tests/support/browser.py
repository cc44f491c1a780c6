"""A tab of headless Chromium, driven over the DevTools protocol: JSON between NULs, through two pipes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
FLAGS += ("--mute-audio", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe")
PATIENCE = 600  # seconds, for a condition that a broken page never meets


def chromium() -> str:
    """The browser; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip(f"chromium is not installed: none of {', '.join(NAMES)} is on the PATH")


class Tab:
    """A page and what it did: `events` are the messages of the protocol that answer no command."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.events: list[dict] = []
        self.unread = b""
        self.number = 0
        self.session: dict[str, str] = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict:
        """Send a command and wait for its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _receive(self) -> dict:
        while b"\0" not in self.unread:
            read = os.read(self.answers, 1 << 20)
            assert read, "Chromium has ended"
            self.unread += read
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def size(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Set the colour scheme that the user prefers, `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def press(self, key: str) -> None:
        """Press a key, such as Enter, and let go of it."""
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=13, text="\r")
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=13)

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page, as JSON has it."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, (
                f"not within {seconds} s: {script}\n{self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def open(self, url: str) -> None:
        """Go to a page."""
        self.send("Page.navigate", url=url)

    def upload(self, selector: str, path: Path) -> None:
        """Give a file to an input of the page."""
        found = self.send("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")["result"]
        self.send("DOM.setFileInputFiles", files=[str(path)], objectId=found["objectId"])

    def requested(self) -> list[str]:
        """The addresses that the page has requested."""
        asked = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def complaints(self) -> list[str]:
        """Errors of the console, and uncaught exceptions."""
        found = []
        for event in self.events:
            what = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(what["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
                found.append(str(what["args"]))
            elif event["method"] == "Log.entryAdded" and what["entry"]["level"] == "error":
                found.append(str(what["entry"]))
        return found


@contextlib.contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """Open a tab in a browser of its own, whose profile lies in that folder."""
    read, commands = os.pipe()
    answers, write = os.pipe()
    # Chromium reads file 3 and writes file 4.
    command = [
        "bash",
        "-c",
        f'exec "$@" 3<&{read} 4>&{write}',
        "bash",
        chromium(),
        *FLAGS,
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen(command, pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.close(read)
        os.close(write)
        yield Tab(commands, answers)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
