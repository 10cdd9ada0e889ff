"""The command lines of runc and crun: what they say in every spelling, and the one spelling that is handed on.

Both take options of one dash or two, with `=` or with the value behind, and for most verbs before or after the
container's name. A runtime is handed what was understood here, written anew, so that it cannot understand it otherwise.
"""

from __future__ import annotations

from stockade.enforce.refusal import WELL_FORMED, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_GLOBAL = {
    **dict.fromkeys("log log-format log-level root criu rootless cgroup-manager".split(), True),
    **dict.fromkeys("debug systemd-cgroup help h version v".split(), False),
}
_START = {
    **dict.fromkeys("bundle console-socket pidfd-socket pid-file preserve-fds".split(), True),
    **dict.fromkeys("no-pivot no-new-keyring no-subreaper detach keep".split(), False),
}
_EXEC = {
    **dict.fromkeys(
        "process console-socket pidfd-socket cwd env user additional-gids pid-file process-label apparmor cap "
        "preserve-fds cgroup".split(),
        True,
    ),
    **dict.fromkeys("tty detach no-new-privs ignore-paused".split(), False),
}
_UPDATE = dict.fromkeys(
    "resources blkio-weight cpu-period cpu-quota cpu-burst cpu-idle cpu-rt-period cpu-rt-runtime cpu-share cpuset-cpus "
    "cpuset-mems kernel-memory kernel-memory-tcp memory memory-reservation memory-swap pids-limit l3-cache-schema "
    "mem-bw-schema".split(),
    True,
)
OPTIONS: Mapping[str, Mapping[str, bool]] = {"create": _START, "run": _START, "exec": _EXEC, "update": _UPDATE}
"""By verb, each long option and whether it takes a value. What is in no table is refused, abbreviations too."""

_SHORT = {
    "create": {"b": "bundle"},
    "run": {"b": "bundle", "d": "detach"},
    "exec": {
        "e": "env",
        "u": "user",
        "g": "additional-gids",
        "p": "process",
        "c": "cap",
        "t": "tty",
        "d": "detach",
    },
    "update": {"r": "resources"},
}
_REPEATED = frozenset(["env", "additional-gids", "cap"])
HANDED_ON = frozenset("start kill delete state features events pause resume ps checkpoint list spec help".split())
"""Verbs that neither start a process nor change what one may do; the launcher hands them on by itself."""


class Call:
    """A command line: the verb, options before and behind it, and the rest.

    Options are (name, value), the value of a flag None. `verb` is None where there is none.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.globals_: list[tuple[str, str | None]] = []
        self.options: list[tuple[str, str | None]] = []
        self.positional: list[str] = []
        self.verb: str | None = None
        rest = _options(arguments, _GLOBAL, {}, self.globals_)
        if not rest:
            return
        self.verb, rest = rest[0], rest[1:]
        if self.verb not in OPTIONS:
            return
        table, short = OPTIONS[self.verb], _SHORT[self.verb]
        rest = _options(rest, table, short, self.options)
        if self.verb == "exec":
            # What follows the container's name is the command, whatever it looks like.
            self.positional = rest
            return
        while rest:
            self.positional.append(rest[0])
            rest = _options(rest[1:], table, short, self.options)
        if len(self.positional) > 1:
            raise refuse(WELL_FORMED, f"{self.verb} with two names, {' and '.join(self.positional[:2])}")

    def value(self, name: str) -> str | None:
        """The value that counts of an option, which is the last; None where it is not given."""
        return next((value for key, value in reversed(self.options) if key == name), None)

    def values(self, name: str) -> list[str]:
        """All values of an option."""
        return [value for key, value in self.options if key == name and value is not None]

    def general(self, name: str) -> str | None:
        """The value that counts of an option before the verb."""
        return next((value for key, value in reversed(self.globals_) if key == name), None)

    def replace(self, name: str, value: str) -> None:
        """Give an option this value, and no other."""
        self.options = [(key, old) for key, old in self.options if key != name] + [(name, value)]

    def drop(self, name: str) -> None:
        """Take an option out."""
        self.options = [(key, old) for key, old in self.options if key != name]

    def spelled(self) -> list[str]:
        """The command line, one argument an option; of what may be said once the last is kept."""
        last = {key: at for at, (key, _) in enumerate(self.options)}
        kept = [pair for at, pair in enumerate(self.options) if pair[0] in _REPEATED or last[pair[0]] == at]
        return [*map(_spelled, self.globals_), self.verb or "", *map(_spelled, kept), *self.positional]


def _spelled(option: tuple[str, str | None]) -> str:
    name, value = option
    return f"--{name}" if value is None else f"--{name}={value}"


def _options(
    arguments: list[str], table: Mapping[str, bool], short: Mapping[str, str], found: list[tuple[str, str | None]]
) -> list[str]:
    """Takes the options at the front of `arguments` and gives the rest."""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            raise refuse(WELL_FORMED, "the argument -- before a verb or a container's name")
        name, equals, value = argument.lstrip("-").partition("=")
        name = short.get(name, name)
        if argument.startswith("---") or name not in table:
            raise refuse(WELL_FORMED, f"unknown option {argument}")
        if not table[name]:
            if equals and value.lower() not in ("1", "t", "true"):
                if value.lower() in ("0", "f", "false"):
                    continue
                raise refuse(WELL_FORMED, f"{argument} is neither true nor false")
            found.append((name, None))
        elif equals:
            found.append((name, value))
        elif rest:
            found.append((name, rest.pop(0)))
        else:
            raise refuse(WELL_FORMED, f"{argument} without a value")
    return rest
