"""What the plugin has decided, counted for Prometheus: a text file for the collector of its node exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stockade.enforce.record import HEAD, METRIC

from .session import Log

_MEANS = {
    "created": ("create", "confined"),
    "refused": ("create", "refused"),
    "updated": ("update", "confined"),
    "update-refused": ("update", "refused"),
    "rejected": ("validate", "refused"),
    "existing": ("synchronize", "wider"),
    "late": ("answer", "late"),
}
"""Event to verb and decision, in the words of the launcher's own counters."""


class Counters:
    """Counts events as they are logged, and writes them when there is time: `flush`, after an answer has been sent."""

    def __init__(self, path: str, log: Log) -> None:
        self._path = Path(path) if path else None
        self._log = log
        self._counts: dict[tuple[str, str, str], int] = {}
        self._new = False

    def log(self, event: str, **said: Any) -> None:
        """Count an event that is a decision, and pass every event on."""
        if event in _MEANS:
            verb, decision = _MEANS[event]
            key = (str(said.get("type") or ""), verb, f"would-be-{decision}" if said.get("dry_run") else decision)
            self._counts[key] = self._counts.get(key, 0) + 1
            self._new = True
        self._log(event, **said)

    def flush(self) -> None:
        """Write the file anew where something was counted. Where it cannot be written, that is an event and no more."""
        if self._path is None or not self._new:
            return
        self._new = False
        lines = [
            f'{METRIC}{{type="{name}",verb="{verb}",decision="{decision}"}} {count}\n'
            for (name, verb, decision), count in sorted(self._counts.items())
        ]
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            beside.write_text(HEAD + "".join(lines), encoding="ascii")
            beside.replace(self._path)
        except OSError as error:
            self._log("not-counted", reason=f"{error.filename}: {error.strerror}")
