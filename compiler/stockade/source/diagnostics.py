"""What is wrong with a policy, said so that it can be mended: the place, the line, what was expected, a near name."""

from __future__ import annotations

from collections.abc import Iterable

from stockade.model.finding import Finding
from stockade.model.position import Position


class PolicyError(Exception):
    """The policy is wrong; `diagnostics` holds every fault found in the run, in the order of the files."""

    def __init__(self, diagnostics: Iterable[Finding], texts: dict[str, str] | None = None) -> None:
        self.diagnostics = tuple(sorted(set(diagnostics), key=lambda d: (d.at, d.message)))
        self.texts = texts or {}
        super().__init__(f"{len(self.diagnostics)} errors in the policy")

    def render(self, prefix: str = "") -> str:
        """All faults as text for a person; `prefix` is put before every file name."""
        return "\n".join(render(d, self.texts.get(d.at.file), prefix) for d in self.diagnostics)


def render(diagnostic: Finding, text: str | None, prefix: str = "") -> str:
    """One fault with its source line and a caret; `text` is the file's content, None when it could not be read."""
    at = diagnostic.at
    lines = [f"{prefix}{at}: {diagnostic.message}"]
    source = text.split("\n") if text else []
    if 0 < at.line <= len(source):
        number = f"{at.line:5d}"
        shown = "".join(c if c.isprintable() else "\ufffd" for c in source[at.line - 1].rstrip("\r"))
        lines.append(f"{number} | {shown}")
        lines.append(f"{' ' * len(number)} | {' ' * (at.column - 1)}^")
    if diagnostic.hint:
        lines.append(f"        {diagnostic.hint}")
    return "\n".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint naming the known name most like `name`, or what is known when nothing is like it; empty for no names."""
    from difflib import get_close_matches

    candidates = sorted(set(known))
    close = get_close_matches(name, candidates, n=1, cutoff=0.6) or get_close_matches(
        name.lower(), [c for c in candidates if c.islower()], n=1, cutoff=0.6
    )
    if not close and name.upper() in candidates:
        close = [name.upper()]
    if close:
        return f"did you mean `{close[0]}`?"
    if not candidates:
        return ""
    shown = ", ".join(candidates[:12])
    return f"known: {shown}" + (f" and {len(candidates) - 12} more" if len(candidates) > 12 else "")


class Diagnostics:
    """Collects faults while a policy is read, so that one never hides another.

    What could not be read is left out, and `doubtful` keeps the names that it may have declared: a name that is unknown
    only because its declaration was left out is no second fault. `incomplete` has the folders, and the sections of
    files, of which something was left out: checks that all of it adds up to something mean nothing there.
    """

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.texts: dict[str, str] = {}
        self.doubtful: set[str] = set()
        self.incomplete: set[str] = set()

    def error(self, at: Position, message: str, hint: str = "") -> None:
        """Note a fault and go on."""
        self.found.append(Finding(at, message, hint))

    def unknown(self, at: Position, what: str, name: str, known: Iterable[str], of: str = "") -> None:
        """Note a name that stands for nothing (of whatever `of` says), with the nearest one that does."""
        if name.removeprefix("@") in self.doubtful:
            return
        self.error(at, f"unknown {what} `{name}`{of and f' of {of}'}", nearest(name, known))

    def raise_if_any(self) -> None:
        """Raise `PolicyError` when anything was found; what was left out is a fault even if nothing said so."""
        if self.found or self.doubtful or self.incomplete:
            raise PolicyError(self.found, self.texts)
