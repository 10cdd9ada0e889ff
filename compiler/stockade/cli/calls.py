"""Reads a system call as a person writes it: `socket AF_ALG 5`, `clone flags=NEWUSER|NEWNS`, `socket(family=ALG)`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stockade.model.syscalls import argument, arguments_of, constant, constants_of, name_of, numbers
from stockade.seccomp.profile_json import nearest

_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\((.*)\)\Z")
_NUMBER = re.compile(r"-?(0x[0-9a-fA-F]{1,16}|0o[0-7]{1,22}|[0-9]{1,20})\Z")
WORD64 = (1 << 64) - 1


class CallError(ValueError):
    """What is wrong with the call, in one line."""


def read_call(arch: str, call: str, words: Sequence[str]) -> tuple[str | None, int, tuple[int, ...]]:
    """(name, number, six 64-bit arguments) of a call on `arch`; the name is None where the number has none.

    A negative number is the two's complement of 64 bits. CallError says what is wrong, with the nearest name.
    """
    spelled = _CALL.match(call)
    if spelled:
        if words:
            raise CallError(f"'{call}' has its arguments already")
        call, words = spelled[1], [word.strip() for word in spelled[2].split(",") if word.strip()]
    name: str | None = call
    if _NUMBER.match(call):
        nr = int(call, 0) if not call.startswith("-") else int(call, 0) & 0xFFFFFFFF
        if nr > 0xFFFFFFFF:
            raise CallError(f"{call} is no number of a system call, they have 32 bits")
        name = name_of(arch, nr)
    elif call in numbers(arch):
        nr = numbers(arch)[call]
    else:
        raise CallError(f"{arch} has no system call '{call}'{nearest(call, numbers(arch))}")
    args = [0] * 6
    given: set[int] = set()
    for place, word in enumerate(words):
        label, equals, value = word.partition("=")
        index = _index(name, label) if equals else place
        if index > 5:
            raise CallError("a call has at most six arguments")
        if index in given:
            raise CallError(f"argument {index} stands twice")
        given.add(index)
        args[index] = _value(name, index, value if equals else word)
    return name, nr, tuple(args)


def _index(name: str | None, label: str) -> int:
    try:
        return argument(name or "", label)[0]
    except KeyError:
        known = [*(arguments_of(name) if name else ()), *(f"arg{index}" for index in range(6))]
        raise CallError(f"`{name}` has no argument '{label}'{nearest(label, known)}") from None


def _value(name: str | None, index: int, word: str) -> int:
    total = 0
    for part in word.split("|"):
        if _NUMBER.match(part):
            number = int(part, 0)
            if not -(1 << 63) <= number <= WORD64:
                raise CallError(f"{part} does not fit 64 bits")
            total |= number & WORD64
        else:
            total |= _symbol(name, index, part)
    return total


def _symbol(name: str | None, index: int, word: str) -> int:
    labels = [label for label in arguments_of(name) if argument(name, label)[0] == index] if name else []
    for label in labels:
        try:
            return constant(str(name), label, word)
        except KeyError:
            known = constants_of(str(name), label)
            raise CallError(f"'{word}' is no value of `{label}` of `{name}`{nearest(word, known)}") from None
    raise CallError(f"'{word}' is not a number, and argument {index} of `{name}` has no symbols")
