"""The verify hook: an OCI createRuntime hook that reads a container's specification again, and refuses what is wider.

It sees what the runtime was handed in the end, after every plugin and wrapper; it can change nothing and stop it all.
"""

from __future__ import annotations

import os
import sys

from stockade.enforce import config
from stockade.enforce.core import Refused
from stockade.enforce.pinned import read_profile
from stockade.enforce.profile import ANNOTATION
from stockade.enforce.refusal import CONFINED, refuse
from stockade.enforce.within import wider
from stockade.enforce.wrapper import Settings, host_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from stockade.enforce.profile import Profile


def findings(state: bytes, profile_of: Callable[[str], Profile], without: Collection[str]) -> list[tuple[str, str]]:
    """What is wider than the type in the container that a hook is told of; raises Refused where that cannot be said.

    `state` is the runtime's state document; `profile_of` gives a type's profile by name, or raises Refused;
    `without` are the layers that the host does without.
    """
    told = config.parsed(state, "standard input")
    folder = told.get("bundle")
    if type(folder) is not str or not folder.startswith("/"):
        raise refuse(CONFINED, "the runtime does not say where the container's bundle is")
    spec = config.read(f"{os.path.realpath(folder)}/{config.NAME}")
    notes = spec.get("annotations")
    name = notes.get(f"{ANNOTATION}type") if type(notes) is dict else None
    if type(name) is not str:
        raise refuse(CONFINED, f"the container has no type: no annotation {ANNOTATION}type")
    return wider(spec, profile_of(name), host_of(without, spec))


def main(arguments: list[str]) -> int:
    """The hook as it is started beside a container: one argument, which types there are. Gives 0, or 1 to refuse."""
    try:
        known = {settings.type: settings for settings in map(Settings, _groups(arguments))}

        def profile_of(name: str) -> Profile:
            if name not in known:
                raise refuse(CONFINED, f"there is no type {name}")
            own = known[name]
            return read_profile(own.bundle, name, own.digests, own.defaults, own.owner)

        if not known:
            raise refuse(CONFINED, "no container type is known")
        found = findings(config.input_(), profile_of, next(iter(known.values())).without)
    except Refused as refused:
        found = refused.reasons
    except Exception as error:  # whatever went wrong: what was not verified does not start
        found = [(CONFINED, f"{type(error).__name__}: {error}")]
    for place, why in found:
        sys.stderr.write(f"stockade: {place}: {why}\n")
    return 1 if found else 0


def _groups(arguments: list[str]) -> list[list[str]]:
    """Settings of several types, one after another with `--` between."""
    found: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--":
            found.append([])
        else:
            found[-1].append(argument)
    return [group for group in found if group]
