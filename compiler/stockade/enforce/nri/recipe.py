"""Whether containerd does without this plugin: its configuration and the way to its NRI socket, read and judged.

NRI by itself fails open: a plugin that is slow or gone is dropped, and containers are created without it. Two halves
together make it fail closed: the plugin validates what it has adjusted, and containerd requires the plugin
(`default_validator.required_plugins`). Here the second half is looked for.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECTION = "io.containerd.nri.v1.nri"
CONFIG = "/etc/containerd/config.toml"
SOCKET = "/var/run/nri/nri.sock"
VERSIONS = (2, 3)
_FILES = 64
_LIMIT = 1 << 20


class RecipeError(Exception):
    """The configuration cannot be read or understood, so nothing is known about it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What containerd's configuration says about NRI.

    `open` lists what lets a container start without this plugin, each with the key and what to write there; `off` what
    keeps the plugin from being connected at all; `rejects` which adjustments the host's own validator turns down,
    which closes and never opens. All are empty in the best case. `socket` is where plugins connect.
    """

    socket: str
    open: tuple[str, ...]
    off: tuple[str, ...]
    rejects: tuple[str, ...]


def read(path: str, name: str, index: str) -> Recipe:
    """Read containerd's configuration at `path` with all it imports; raises RecipeError.

    Versions of containerd differ in how a section of an imported file joins the same section of the importing one: it
    replaces it, or the keys are merged. What is not so by both readings is not so.
    """
    files = _load(Path(path).absolute())
    readings = [_merged(files, deep) for deep in (True, False)]
    kept = [reading.get("socket_path") or SOCKET for reading in readings]
    if len(set(kept)) > 1:
        raise RecipeError(f"{path}: socket_path depends on how imported files are joined: {' or '.join(kept)}")
    found: dict[str, list[str]] = {"open": [], "off": [], "rejects": []}
    for reading in readings:
        for kind, finding in _judge(reading, name, index):
            if finding not in found[kind]:
                found[kind].append(finding)
    if any(SECTION in file.get("disabled_plugins", []) for _, file in files):
        found["off"].append(f"disabled_plugins names {SECTION}: take it out")
    found["open"] += [finding for place, _ in files for finding in trusted(str(place))]
    return Recipe(str(kept[0]), tuple(found["open"]), tuple(found["off"]), tuple(found["rejects"]))


def trusted(path: str, what: str = "") -> list[str]:
    """Who besides root could change a file, or connect to a socket: owner and mode, up to the root folder."""
    findings = []
    place = Path(path).absolute()
    try:
        real = place.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise RecipeError(f"{place}: {getattr(error, 'strerror', None) or error}") from error
    # By its name and by where the name leads: whoever can write to either way can put something else there.
    for part in dict.fromkeys((real, *place.parents, *real.parents)):
        try:
            status = part.stat()
        except OSError as error:
            raise RecipeError(f"{part}: {error.strerror}") from error
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid != 0:
            findings.append(f"{what or path}: {part} belongs to user {status.st_uid}: chown root {part}")
        if status.st_mode & 0o022 and not sticky:
            findings.append(f"{what or path}: {part} is writable by others: chmod go-w {part}")
    return findings


def _judge(nri: dict[str, Any], name: str, index: str) -> list[tuple[str, str]]:
    """Kind and text of each finding on the section of NRI."""
    key = f'plugins."{SECTION}"'
    found = []
    if nri.get("disable") is True:
        found.append(("off", f"{key}.disable is true: set it to false"))
    if nri.get("disable_connections") is True:
        found.append(("off", f"{key}.disable_connections is true: set it to false"))
    validator = nri.get("default_validator", {})
    if not isinstance(validator, dict):
        raise RecipeError(f"{key}.default_validator is no table")
    key += ".default_validator"
    if validator.get("enable") is not True:
        found.append(("open", f"{key}.enable is not true: set it to true"))
    required = validator.get("required_plugins", [])
    if not isinstance(required, list) or not {name, f"{index}-{name}"} & set(map(str, required)):
        found.append(("open", f'{key}.required_plugins does not name this plugin: add "{name}"'))
    if tolerated := validator.get("tolerate_missing_plugins_annotation"):
        found.append(
            ("open", f"{key}.tolerate_missing_plugins_annotation lets a pod do without ({tolerated}): take it out")
        )
    found += [
        ("rejects", f"{key}.{reject} is true: such adjustments of this plugin fail the container")
        for reject in sorted(validator)
        if reject.startswith("reject_") and validator[reject] is not False
    ]
    return found


def _load(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The file and all that it imports, in the order in which containerd reads them."""
    files: list[tuple[Path, dict[str, Any]]] = []
    pending, seen = [path], set()
    while pending:
        place = pending.pop(0)
        if place in seen:
            continue
        seen.add(place)
        if len(seen) > _FILES:
            raise RecipeError(f"{path}: imports more than {_FILES} files")
        try:
            with place.open("rb") as file:
                content = file.read(_LIMIT + 1)
            if len(content) > _LIMIT:
                raise RecipeError(f"{place}: larger than {_LIMIT} bytes")
            parsed = tomllib.loads(content.decode("utf-8"))
        except OSError as error:
            raise RecipeError(f"{place}: {error.strerror}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"{place}: {error}") from error
        version = parsed.get("version", 1)
        if version not in VERSIONS:
            raise RecipeError(f"{place}: version = {version}, and versions 2 and 3 are understood")
        imports = parsed.get("imports", [])
        if not isinstance(imports, list) or not all(isinstance(item, str) for item in imports):
            raise RecipeError(f"{place}: imports is no list of paths")
        if not isinstance(parsed.get("plugins", {}), dict):
            raise RecipeError(f"{place}: plugins is no table")
        files.append((place, parsed))
        for item in imports:
            wanted = os.path.normpath(place.parent / item)
            found = sorted(Path("/").glob(wanted.lstrip("/"))) if "*" in wanted else [Path(wanted)]
            pending += found
    return files


def _merged(files: list[tuple[Path, dict[str, Any]]], deep: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for place, file in files:
        section = file.get("plugins", {}).get(SECTION)
        if section is None:
            continue
        if not isinstance(section, dict):
            raise RecipeError(f'{place}: plugins."{SECTION}" is no table')
        made = _join(made, section) if deep else section
    return made


def _join(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    made = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = _join(made[key], value) if both else value
    return made
