"""From a file's bytes to a typed value; a ValueError says what is wrong, and nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from stockade.audit.facts.fact import Fact

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")


def parsed(raw: Fact, parse: Callable[[bytes], Any]) -> Fact:
    """The fact with its bytes parsed; malformed where they cannot be."""
    if not raw.known:
        return raw
    try:
        return Fact.of(parse(raw.value), raw.path)
    except (ValueError, RecursionError) as error:
        return Fact.malformed(raw.path, str(error) or "of an unknown form")


def text(content: bytes) -> str:
    """UTF-8 text without a trailing newline or NUL. Empty, binary or undecodable content is a ValueError."""
    said = content.rstrip(b"\n\0")
    if not said:
        raise ValueError("empty")
    if b"\0" in said:
        raise ValueError("binary")
    try:
        return said.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def line(content: bytes) -> str:
    """Text of exactly one line."""
    said = text(content)
    if "\n" in said:
        raise ValueError("more than one line")
    return said


def number(content: bytes) -> int:
    """One decimal number and nothing else."""
    said = line(content).strip()
    if not _NUMBER.fullmatch(said):
        raise ValueError(f"not a number: {said[:40]!r}")
    return int(said)


def setting(content: bytes) -> int | str | list[int]:
    """A sysctl: a number, several numbers, or text."""
    if content == b"\n":  # what the kernel says where a text is empty; no byte at all it never says
        return ""
    said = text(content)
    words = said.split()
    if words and all(_NUMBER.fullmatch(word) for word in words):
        return int(words[0]) if len(words) == 1 else [int(word) for word in words]
    return said


def booted(content: bytes) -> int:
    """When the kernel was started, in seconds since 1970, from /proc/stat."""
    found = [one.split() for one in text(content).splitlines() if one.startswith("btime ")]
    if len(found) != 1 or len(found[0]) != 2:
        raise ValueError("not one time of the boot")
    return number(found[0][1].encode())


def yes(content: bytes) -> bool:
    """A module parameter: Y or N, 1 or 0."""
    said = line(content).strip()
    if said not in ("Y", "N", "1", "0"):
        raise ValueError(f"neither Y nor N: {said[:40]!r}")
    return said in "Y1"


def bracketed(content: bytes) -> str:
    """The word in brackets of a list such as `none [integrity] confidentiality`."""
    words = line(content).split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    if len(chosen) != 1 or not chosen[0]:
        raise ValueError(f"not one word in brackets: {' '.join(words)[:60]!r}")
    return chosen[0]


def words(content: bytes) -> list[str]:
    """A list separated by commas."""
    return line(content).strip().split(",")


def label(content: bytes) -> str:
    """A context of SELinux: user, role, type and, with MLS, a level."""
    said = line(content)
    parts = said.split(":", 3)
    if len(parts) < 3 or not all(parts) or not said.isprintable() or " " in said:
        raise ValueError(f"not a context: {said[:60]!r}")
    return said


def assignments(content: bytes) -> dict[str, str]:
    """Lines of NAME=VALUE as os-release has them: comments left out, quotes removed, the last of a name counts."""
    found = {}
    for at, one in enumerate(text(content).splitlines(), 1):
        said = one.strip()
        if not said or said[0] in "#;":
            continue
        name, equals, value = said.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"line {at} is no assignment")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found


def kernel_options(content: bytes) -> dict[str, str]:
    """Kconfig as /proc/config.gz holds it: name without CONFIG_ to value, `n` where it says `is not set`."""
    import zlib

    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        said = unpacker.decompress(content, 4 << 20)
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from None
    if not unpacker.eof:
        raise ValueError("gzip is cut short, or more than 4 MiB")
    found: dict[str, str] = {}
    for one in text(said).splitlines():
        if one.startswith("CONFIG_"):
            name, equals, value = one[7:].partition("=")
            if not equals:
                raise ValueError(f"not an option: {one[:60]!r}")
        elif one.startswith("# CONFIG_") and one.endswith(" is not set"):
            name, value = one[9:-11], "n"
        else:
            continue
        if name in found:
            raise ValueError(f"{name} twice")
        found[name] = value.strip('"')
    if not found:
        raise ValueError("no option in it")
    return found
