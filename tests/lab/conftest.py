"""Fixtures of the lab's tests: variants of the shipped policy, made with the distribution's own tools."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def patched(bundle: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function: CIL statements to a bundle whose kernel policy is the original plus these."""

    def patch(statements: str, without: str | None = None) -> Path:
        (policy,) = (bundle / "host").glob("policy.[0-9]*")
        cil = tmp_path / "policy.cil"
        subprocess.run(["checkpolicy", "-M", "-b", "-C", "-o", str(cil), str(policy)], check=True, capture_output=True)
        lines = cil.read_text().splitlines()
        if without is not None:
            kept = [line for line in lines if without not in line]
            assert len(kept) < len(lines), f"nothing in the policy says {without!r}"
            lines = kept
        cil.write_text("\n".join([*lines, statements, ""]))
        host = tmp_path / "patched" / "host"
        host.mkdir(parents=True)
        contexts = (bundle / "host" / "file_contexts").read_bytes()
        command = ["secilc", "-c", "31", "-o", str(host / "policy.31"), "-f", str(tmp_path / "unused"), str(cil)]
        subprocess.run(command, check=True, capture_output=True)
        (host / "file_contexts").write_bytes(contexts)
        return host.parent

    return patch
