"""JSON as a runtime must see it: no key twice, no number that is none, integers to the last digit, bounded in size.

Imported when a container starts: the standard library's `json` takes longer to import than all the rest of the way, for
the sake of its regular expressions; the scanner and the encoder beneath it, which are written in C, are used directly.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 16 << 20
"""A document beyond this many bytes is refused; containerd's are of tens of kilobytes."""

_INFINITY = float("inf")


class Malformed(ValueError):
    """Bytes that are no JSON document in the sense of this module; the text says why."""


def _integer(digits: str) -> int:
    number = int(digits)
    # The specification's integers are those of Go: beyond 64 bits a runtime reads something else, or nothing.
    if not -(1 << 63) <= number < 1 << 64:
        raise Malformed(f"the number {digits[:40]} does not fit 64 bits")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if number in (_INFINITY, -_INFINITY):
        raise Malformed(f"the number {digits[:40]} is too large")
    return number


def _constant(name: str) -> None:
    raise Malformed(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the key {twice[:80]!r} is there twice")
    return found


class _Context:
    """What the scanner asks for."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = staticmethod(_float)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


def loads(content: bytes) -> Any:
    """The value of a document; raises Malformed."""
    if len(content) > LIMIT:
        raise Malformed(f"more than {LIMIT} bytes")
    try:
        text = content.decode("utf-8").strip(" \t\r\n")
        value, end = make_scanner(_Context())(text, 0)  # type: ignore[arg-type,unused-ignore]
    except StopIteration as error:
        raise Malformed(f"no JSON at character {error.value}") from None
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"no JSON: {error}") from None
    except SystemError:  # the scanner takes its error from a module that is not imported here
        raise Malformed("no JSON: it is cut off, or a sign in it is missing") from None
    if end != len(text):
        raise Malformed(f"more after the end, at character {end}")
    return value


def _other(value: object) -> None:
    raise TypeError(f"{value!r} has no JSON")


def dumps(value: object) -> bytes:
    """A document without white space; the order of keys is that of `value`."""
    encode = make_encoder({}, _other, encode_basestring_ascii, None, ":", ",", False, False, False)
    return "".join(encode(value, 0)).encode("ascii")
