"""`stockade nri`, from its options to its exit code: what is checked before a runtime is asked for anything."""

from __future__ import annotations

import gc
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from . import connect, features, recipe
from .counters import Counters
from .judge import BundleJudge, LoadError, load
from .plugin import Options, StockadePlugin
from .session import STOPPED, Log, Session, StartRefused

PARTIAL = (
    "NRI reaches a part of a container's confinement, and this plugin is partial: no version of NRI shows or sets "
    + ", ".join(features.NEVER)
    + ". A seccomp filter and own namespaces take containerd 2.2, pids.max and oom_score_adj 2.0. A container that is "
    "wider than its type and cannot be narrowed is not created. With --verify-hook every container is checked whole "
    "before it starts; the runtime wrapper (stockade hook install) sets all of it."
)
"""What the help and the manual say of it first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says, by the names of `OPTIONS`."""

    bundle: str
    select: str = ""
    socket: str = ""
    containerd_config: str = recipe.CONFIG
    name: str = connect.NAME
    index: str = connect.INDEX
    verify_hook: str = ""
    log: str = ""
    counters: str = ""
    wait: int = 60
    accept_fail_open: bool = False
    replace_runtime_default: bool = False
    dry_run: bool = False


OPTIONS: tuple[tuple[str, str], ...] = (
    ("bundle", "The folder that `stockade build` wrote."),
    ("select", "The operator's file that says which container is of which type; without it, its runtime handler."),
    ("socket", "containerd's NRI socket; without it, the one that its configuration names."),
    ("containerd-config", "Where to look whether containerd requires this plugin."),
    ("name", "Register under this name; it is what required_plugins must list."),
    ("index", "Two digits: plugins are asked in this order, the last one sees what the others adjust."),
    ("verify-hook", "A program on the host, with arguments, that every container gets as createRuntime hook."),
    ("log", "Append events to this file; without it, they go to standard error."),
    ("counters", "Count decisions in this file, for the text file collector of Prometheus' node exporter."),
    ("wait", "Seconds without containerd after which to give up."),
    ("accept-fail-open", "Serve although containerd would start containers without the plugin; every report says so."),
    ("replace-runtime-default", "Put the type's filter in the place of RuntimeDefault, which NRI does not show."),
    ("dry-run", "Judge and report, and change and refuse nothing."),
)
"""Option of the command line, without its dashes, and what it is for; its default is that of Settings."""


class CannotRun(Exception):
    """Why the plugin does not run, for a person to read; `answer` is the exit code."""

    def __init__(self, answer: int, message: str) -> None:
        super().__init__(message)
        self.answer = answer


def json_log(stream: TextIO) -> Log:
    """Writes each event as one JSON object on a line."""

    def log(event: str, **said: object) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        stream.write(json.dumps({"time": moment, "event": event, **said}, separators=(",", ":")) + "\n")
        stream.flush()

    return log


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Serve until told to stop or, launched by containerd, until it ends; raises CannotRun."""
    try:
        judge = load(settings.bundle, settings.select)
        # What is there now stays: the collector need not look at it again while a container waits.
        gc.freeze()
    except LoadError as error:
        raise CannotRun(3, str(error)) from error
    if settings.log:
        try:
            # Line by line, appended by one write each: rotation may rename the file at any time, and takes a restart.
            stream = Path(settings.log).open("a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise CannotRun(3, f"{settings.log}: {error.strerror}") from error
        with stream:
            return _run(settings, judge, environment, json_log(stream))
    return _run(settings, judge, environment, json_log(sys.stderr))


def _run(settings: Settings, judge: BundleJudge, environment: Mapping[str, str], log: Log) -> int:
    counters = Counters(settings.counters, log)
    log = counters.log
    try:
        given = connect.launched(environment)
        name, index = (given.name, given.index) if given else (settings.name, settings.index)
        connect.check(name, index)
        opened = _recipe(settings, name, index, launched=given is not None)
        options = Options(
            opened.open,
            settings.accept_fail_open,
            tuple(shlex.split(settings.verify_hook)),
            settings.replace_runtime_default,
            settings.dry_run,
        )
        plugin = StockadePlugin(judge, options, log)
        path = settings.socket or opened.socket

        def ready() -> str:
            # containerd makes the socket anew whenever it starts.
            if not Path(path).exists():
                raise connect.ConnectError(f"{path}: No such file or directory")
            if (findings := connect.socket_findings(path)) and not settings.accept_fail_open:
                raise StartRefused("; ".join(findings))
            for finding in findings:
                log("exposed", reason=finding)
            return path

        with connect.stopping() as wake:
            if given is not None:
                os.set_inheritable(given.descriptor, False)
                connection = socket.socket(fileno=given.descriptor)
                reason = Session(connection, plugin, log, counters.flush).serve(name, index, wake)
                log("disconnected", reason=reason)
                return 0 if reason == STOPPED or plugin.configured else 3
            connect.serve(ready, plugin, log, name, index, wake, settings.wait, counters.flush)
            return 0
    except StartRefused as refused:
        log("not-started", reason=str(refused))
        raise CannotRun(1, f"not started: {refused}; --accept-fail-open serves all the same") from refused
    except (connect.ConnectError, recipe.RecipeError) as error:
        log("not-started", reason=str(error))
        raise CannotRun(3, str(error)) from error


def _recipe(settings: Settings, name: str, index: str, launched: bool) -> recipe.Recipe:
    try:
        found = recipe.read(settings.containerd_config, name, index)
    except recipe.RecipeError as error:
        if not settings.accept_fail_open:
            raise
        found = recipe.Recipe(recipe.SOCKET, (f"containerd's configuration cannot be read: {error}",), (), ())
    off = [finding for finding in found.off if not launched or "disable_connections" not in finding]
    if off:
        raise CannotRun(3, "; ".join(off))
    if found.open and not settings.accept_fail_open:
        raise StartRefused("this host would start containers without the plugin: " + "; ".join(found.open))
    return found
