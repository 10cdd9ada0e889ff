"""What was decided, for people and for machines: one line of JSON each, counters for Prometheus, the runtime's own log.

None of it may stop a container: where a record cannot be written, that is said on standard error.
"""

from __future__ import annotations

import os
import sys
import time

from stockade.enforce.exact import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DECISIONS = "decisions.jsonl"
COUNTERS = "stockade.prom"
METRIC = "stockade_decisions_total"
JOURNAL = "/run/systemd/journal/socket"
_LONGEST = 8192
"""Bytes of a value in the journal, so that all of them are one datagram."""

HEAD = f"# HELP {METRIC} What enforcement decided, by container type, verb and decision.\n# TYPE {METRIC} counter\n"


def tell(text: str) -> None:
    """Say something on standard error, where it can be written to: containerd gives a pod's sandbox one that cannot."""
    try:
        if sys.stderr is not None:  # where it is closed, what was opened since may have its number
            os.write(2, f"stockade: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        return


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def record(folder: str, entry: dict[str, Any]) -> None:
    """Append a decision to the folder's log and count it."""
    try:
        line = dumps({"time": _now(), **entry}) + b"\n"
        os.makedirs(folder, 0o750, exist_ok=True)
        # One write to a file opened for appending is not mixed with another's.
        file = os.open(
            f"{folder}/{DECISIONS}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640
        )
        try:
            os.write(file, line)
        finally:
            os.close(file)
        _count(folder, f'{METRIC}{{type="{entry["type"]}",verb="{entry["verb"]}",decision="{entry["decision"]}"}}')
    except (OSError, ValueError) as error:
        tell(f"the decision is not recorded: {error}")


def _count(folder: str, key: str) -> None:
    lock = os.open(f"{folder}/.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.lockf(lock, os.F_LOCK, 0)
        path = f"{folder}/{COUNTERS}"
        counts = {}
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    if not line.startswith("#"):
                        name, _, value = line.rpartition(" ")
                        counts[name] = int(value)
        except FileNotFoundError:
            pass
        counts[key] = counts.get(key, 0) + 1
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(HEAD + "".join(f"{name} {value}\n" for name, value in sorted(counts.items())))
        os.replace(f"{path}.new", path)
    finally:
        os.close(lock)


def journal(path: str, entry: dict[str, Any]) -> None:
    """Send a decision to systemd's journal, whose socket is at `path`, with fields to ask for it by."""
    from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, socket

    why = "; ".join(f"{reason['why']} [{reason['promise']}]" for reason in entry["reasons"])
    said = f"{entry['decision']}: type {entry['type']}: {entry['verb']} {entry['container']}{why and ': '}{why}"
    fields = [
        ("MESSAGE", said),
        ("PRIORITY", "6" if not why else "4"),
        ("SYSLOG_IDENTIFIER", "stockade"),
        *((f"STOCKADE_{key.upper()}", entry[key]) for key in ("decision", "type", "verb", "container")),
        *(("STOCKADE_PROMISE", reason["promise"]) for reason in entry["reasons"]),
        *(("STOCKADE_WITHOUT", layer) for layer in entry.get("without", ())),
    ]
    parts = []
    for name, value in fields:
        # With its length before it, so that no line in a value is another field.
        data = value.encode(errors="backslashreplace")[:_LONGEST]
        parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
    try:
        channel = socket(AF_UNIX, SOCK_DGRAM)
        try:
            channel.connect(path)
            channel.send(b"".join(parts), MSG_DONTWAIT)
        finally:
            channel.close()
    except OSError as error:
        tell(f"the decision is not in the journal: {path}: {error.strerror}")


def say(path: str | None, form: str | None, message: str) -> None:
    """Tell the caller why: in the runtime's log, which containerd shows to whoever asked, and on standard error."""
    tell(message)
    if not path:
        return
    try:
        if form == "json":
            line = dumps({"level": "error", "msg": f"stockade: {message}", "time": _now()}) + b"\n"
        else:
            line = f'time="{_now()}" level=error msg={dumps(f"stockade: {message}").decode("ascii")}\n'.encode()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)
    except OSError as error:
        tell(f"{path}: {error.strerror}")
