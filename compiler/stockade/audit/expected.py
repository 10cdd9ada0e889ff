"""What a host should have, from a bundle: the facts that live ones are compared with."""

from __future__ import annotations

import re
from pathlib import Path

from stockade.audit.containers import expected_types
from stockade.audit.facts.fact import Fact
from stockade.audit.facts.selinux import packed
from stockade.bundle.manifest import BundleError
from stockade.bundle.read import read
from stockade.model.syscalls import NATIVE

_POLICY = re.compile(r"host/policy\.\d+")


def from_bundle(folder: Path) -> tuple[dict[str, Fact], str]:
    """The facts `compiled.policy` and `compiled.types`, and the bundle's digest. Raises BundleError."""
    bundle = read(folder)
    policies = [entry.path for entry in bundle.manifest.entries if _POLICY.fullmatch(entry.path)]
    if len(policies) != 1:
        raise BundleError("host", f"{len(policies)} kernel policies, and one is compared")
    listed = {entry.path for entry in bundle.manifest.entries}

    def file(path: str) -> bytes:
        if path not in listed:
            raise LookupError(path)
        return bundle.bytes(path)

    try:
        types = expected_types(file, bundle.types, tuple(NATIVE))
    except (LookupError, ValueError, TypeError) as error:
        raise BundleError("containers", f"not those of this version: {error}") from None
    found = {
        "compiled.policy": Fact.of(packed(bundle.bytes(policies[0])), policies[0]),
        "compiled.types": Fact.of(types, "containers"),
    }
    return found, bundle.digest
