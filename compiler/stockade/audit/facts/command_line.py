"""The kernel's command line, read as the kernel reads it: quotes, and nothing after `--`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from stockade.audit.facts.parse import line

SPACE: Final = " \t\n\v\f\r"
_NUMBER: Final = re.compile(r"[0-9]+")
_HASHES: Final = {"sha256": 64, "sha384": 96, "sha512": 128, "sha3-256": 64, "sha3-512": 128, "blake2b-512": 128}
_OPTIONS_WITH_VALUE: Final = {
    "use_fec_from_device", "fec_blocks", "fec_start", "fec_roots", "root_hash_sig_key_desc"
}  # fmt: skip


def parameters(content: bytes) -> list[list[str | None]]:
    """[name, value] of every parameter for the kernel, in order; the value is None where there is no `=`.

    As the kernel's next_arg does it: a quote at the start of a word or after the `=` is removed, blanks in quotes
    belong to the word, and at `--` the kernel stops; what follows is for init.
    """
    return _parsed(line(content))[0]


def for_init(content: bytes) -> list[list[str | None]]:
    """The same of what stands after `--`: words for PID 1, which reads those before it too."""
    _, rest = _parsed(line(content))
    found: list[list[str | None]] = []
    while rest:
        more, rest = _parsed(rest)
        found += more
    return found


def _parsed(said: str) -> tuple[list[list[str | None]], str]:
    """The parameters up to `--`, and the text after it."""
    found: list[list[str | None]] = []
    at = 0
    while True:
        while at < len(said) and said[at] in SPACE:
            at += 1
        if at == len(said):
            return found, ""
        quoted = said[at] == '"'
        if quoted:
            at += 1
        begin, inside, equals = at, quoted, -1
        while at < len(said) and (inside or said[at] not in SPACE):
            if equals < 0 and said[at] == "=":
                equals = at
            if said[at] == '"':
                inside = not inside
            at += 1
        word, value = said[begin:at], None
        if equals >= 0:
            word, value = said[begin:equals], said[equals + 1 : at]
            if value.startswith('"'):
                value = value[1:].removesuffix('"')
            elif quoted:
                value = value.removesuffix('"')
        elif quoted:
            word = word.removesuffix('"')
        if inside:
            raise ValueError("a quote that is not closed")
        if word == "--" and value is None:
            return found, said[at:]
        found.append([word, value])


def values(found: Sequence[Sequence[str | None]], name: str) -> list[str | None]:
    """Every value that a parameter is given; `-` and `_` in names are the same to the kernel."""
    wanted = name.replace("-", "_")
    return [value for key, value in found if str(key).replace("-", "_") == wanted]


def verity_table(table: str) -> dict[str, Any]:
    """The parts of a verity target's parameters, as a table of device-mapper has them. ValueError where malformed."""
    words = table.split()
    if len(words) < 10:
        raise ValueError("a verity target has ten parameters at least")
    version, data, tree, data_size, tree_size, blocks, start, algorithm, root, salt = words[:10]
    if not all(_NUMBER.fullmatch(one) for one in (version, data_size, tree_size, blocks, start)):
        raise ValueError("a size of the verity target is no number")
    if not re.fullmatch(r"[0-9a-f]+", root) or len(root) != _HASHES.get(algorithm, len(root)):
        raise ValueError("the root hash is none of its algorithm")
    options: dict[str, str | None] = {}
    if rest := words[10:]:
        if not _NUMBER.fullmatch(rest[0]) or int(rest[0]) != len(rest) - 1:
            raise ValueError("the number of optional parameters is wrong")
        left = iter(rest[1:])
        for option in left:
            options[option] = next(left, None) if option in _OPTIONS_WITH_VALUE else None
    return {
        "version": int(version),
        "data": data,
        "tree": tree,
        "data_block_size": int(data_size),
        "tree_block_size": int(tree_size),
        "blocks": int(blocks),
        "algorithm": algorithm,
        "root_hash": root,
        "salt": salt,
        "options": options,
    }


def mapped(created: str) -> list[dict[str, Any]]:
    """The devices that `dm-mod.create=` describes: name, uuid, flags, and targets (start, length, type, parameters)."""
    devices = []
    for one in created.split(";"):
        parts = [part.strip() for part in one.split(",")]
        if len(parts) < 5:
            raise ValueError("dm-mod.create= has name, uuid, minor, flags and a table")
        targets = []
        for said in parts[4:]:
            words = said.split(None, 3)
            if len(words) < 3 or not (words[0] + words[1]).isdigit():
                raise ValueError("a target has start, length and type")
            targets.append(
                {
                    "start": int(words[0]),
                    "length": int(words[1]),
                    "type": words[2],
                    "parameters": words[3] if len(words) > 3 else "",
                }
            )
        devices.append({"name": parts[0], "uuid": parts[1], "flags": parts[3], "targets": targets})
    return devices
