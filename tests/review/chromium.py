"""Debian's Chromium without a window, driven over its debugging pipe; it opens nothing but files of this machine."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAM = "/usr/bin/chromium"
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-default-apps --mute-audio "
    "--disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
).split()


class Browser:
    """One page. `events` are all that the page reported since it was opened, oldest first.

    It has `patience` seconds for each answer.
    """

    def __init__(self, patience: float = 60.0) -> None:
        self.events: list[dict[str, Any]] = []
        self._patience = patience
        self._deadline = 0.0
        self._number = 0
        self._rest = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="stockade-chromium-", ignore_cleanup_errors=True)
        requests, self._write = os.pipe()
        self._read, answers = os.pipe()
        os.set_blocking(self._read, False)
        # The browser reads requests from descriptor 3 and writes answers to 4.
        theirs, ours = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20) for descriptor in (requests, answers))
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{ours} {theirs}<&- {ours}>&-'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, PROGRAM, *OPTIONS, f"--user-data-dir={self._folder.name}", "about:blank"],
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for descriptor in (requests, answers, theirs, ours):
            os.close(descriptor)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        self._folder.cleanup()

    @property
    def profile(self) -> Path:
        """The folder that the browser keeps what it needs in."""
        return Path(self._folder.name)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result; fails where the browser refuses or falls silent."""
        self._number += 1
        self._deadline = time.monotonic() + self._patience
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._write, json.dumps(request).encode() + b"\0")
        while self._number not in self._answers:
            self._listen()
        answer = self._answers.pop(self._number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Show a file at a width of so many CSS pixels, in a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._listen()

    def ask(self, expression: str) -> Any:
        """The value of an expression on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key of the keyboard, down and up again."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def picture(self, whole: bool = False) -> bytes:
        """What is to be seen, as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def _listen(self) -> None:
        """Take in what has arrived, or wait a moment for it."""
        assert time.monotonic() < self._deadline, "the browser does not answer"
        assert self._process.poll() is None, "the browser has ended"
        try:
            self._rest += os.read(self._read, 1 << 20)
        except BlockingIOError:
            time.sleep(0.005)
        *messages, self._rest = self._rest.split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)
