"""The verify hook: an OCI createRuntime hook that reads a container's specification again, and refuses what is wider.

It sees what the runtime was handed in the end, after every plugin and wrapper; it can change nothing and stop it all.
"""

from __future__ import annotations

import os

from stockade.enforce import config
from stockade.enforce.core import Refused
from stockade.enforce.host import host_of
from stockade.enforce.profile import ANNOTATION
from stockade.enforce.record import tell
from stockade.enforce.refusal import CONFINED, refuse
from stockade.enforce.within import wider
from stockade.enforce.wrapper import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from stockade.enforce.decided import Decided
    from stockade.enforce.profile import Profile


def findings(
    state: bytes, profile_of: Callable[[str], Profile], without: Collection[str], decided: Decided | None
) -> list[tuple[str, str]]:
    """What is wider than the type in the container that a hook is told of; raises Refused where that cannot be said.

    `state` is the runtime's state document; `profile_of` gives a type's profile by name, or raises Refused;
    `without` are the layers that the host does without. `decided` is what launchers decided; None where the annotation
    of the specification is all there is, as its last writer left it.
    """
    told = config.parsed(state, "standard input")
    folder = told.get("bundle")
    if type(folder) is not str or not folder.startswith("/"):
        raise refuse(CONFINED, "the runtime does not say where the container's bundle is")
    folder = os.path.realpath(folder)
    spec = config.read(f"{folder}/{config.NAME}")
    notes = spec.get("annotations")
    name = notes.get(f"{ANNOTATION}type") if type(notes) is dict else None
    if type(name) is not str:
        raise refuse(CONFINED, f"the container has no type: no annotation {ANNOTATION}type")
    if decided is not None:
        own = told.get("id")
        kept = decided.with_bundle(own if type(own) is str else "", folder)
        if kept != name:
            raise refuse(CONFINED, f"the annotation {ANNOTATION}type says {name}, and the launcher decided {kept}")
    return wider(spec, profile_of(name), host_of(without, spec))


def main(arguments: list[str]) -> int:
    """The hook as it is started beside a container, with an installation's settings. Gives 0, or 1 to refuse."""
    try:
        settings = Settings(arguments)
        found = findings(config.input_(), settings.profile, settings.without, settings.decided)
    except Refused as refused:
        found = refused.reasons
    except Exception as error:  # whatever went wrong: what was not verified does not start
        found = [(CONFINED, f"{type(error).__name__}: {error}")]
    for place, why in found:
        tell(f"{place}: {why}")
    return 1 if found else 0
