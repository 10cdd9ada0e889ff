"""A node: a runtime, the plugin connected to it in a thread, and what it has logged."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stockade.enforce.nri import connect
from stockade.enforce.nri.judge import BundleJudge
from stockade.enforce.nri.plugin import Options, StockadePlugin
from stockade.enforce.nri.wire import Fields

from .fake import Runtime

CLOSED, ACCEPT = Options(), Options(accept_open=True)


class Node:
    """A runtime with the plugin connected to it, and what the plugin has logged."""

    def __init__(self, path: Path, judge: BundleJudge, options: Options, **how: Any) -> None:
        self.logged: list[tuple[str, Fields]] = []
        self.runtime = Runtime(path, **how)
        self.plugin = StockadePlugin(judge, options, lambda event, **said: self.logged.append((event, said)))
        self.wake, self.write = os.pipe()
        self.ended: BaseException | str | None = None
        self.thread = threading.Thread(target=self._serve, args=(path,), daemon=True)

    def _serve(self, path: Path) -> None:
        try:
            log = lambda event, **said: self.logged.append((event, said))  # noqa: E731
            self.ended = connect.serve(lambda: str(path), self.plugin, log, "stockade", "90", self.wake, 5)
        except BaseException as error:
            self.ended = error

    def start(self) -> Node:
        self.thread.start()
        self.runtime.wait(lambda: bool(self.runtime.live()) or not self.thread.is_alive())
        return self

    def events(self, name: str) -> list[Fields]:
        return [said for event, said in self.logged if event == name]

    def stop(self) -> None:
        os.write(self.write, b"x")
        self.runtime.close()
        self.thread.join(5)
        os.close(self.wake)
        os.close(self.write)


Start = Callable[..., Node]
