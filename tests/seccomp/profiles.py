"""Seccomp profiles for tests: the one that other tools ship, small ones by hand, and a strategy for every other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SHIPPED = Path("/usr/share/containers/seccomp.json").read_bytes()
EDGES = (0, 1, 5, 7, 0x20000, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1)
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


def arg(index: int, op: str, value: int, two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two}


def entry(names: str, action: str = "ALLOW", *args: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": f"SCMP_ACT_{action}", "args": list(args), **more}


def profile(*entries: dict[str, Any], default: str = "ERRNO", **more: Any) -> dict[str, Any]:
    return {"defaultAction": f"SCMP_ACT_{default}", "syscalls": list(entries), **more}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


args = st.builds(
    lambda index, op, value, two: {"index": index, "op": op, "value": value, "valueTwo": two},
    st.integers(0, 2),
    st.sampled_from(OPERATORS),
    st.sampled_from(EDGES),
    st.sampled_from(EDGES),
)
actions = st.sampled_from(("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "LOG", "TRACE", "NOTIFY"))
entries = st.builds(
    lambda names, action, tests, number: {
        "names": names,
        "action": f"SCMP_ACT_{action}",
        "args": tests,
        **({"errnoRet": number} if action in ("ERRNO", "TRACE") else {}),
    },
    st.lists(st.sampled_from(("read", "socket", "personality", "mmap", "clone", "_llseek")), min_size=1, max_size=2),
    actions,
    st.lists(args, max_size=3),
    st.sampled_from((1, 13, 38)),
)
profiles = st.builds(lambda said, default: profile(*said, default=default), st.lists(entries, max_size=5), actions)
