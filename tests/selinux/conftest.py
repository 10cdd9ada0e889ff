"""What the tests of this room share: the reference policy, compiled once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stockade.selinux.libsepol import Compiled, compile_cil

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "data" / "reference-policy.json.gz"


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", HERE / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The module that turns decisions into CIL."""
    return _reference()


@pytest.fixture(scope="session")
def decisions(reference: ModuleType) -> dict[str, Any]:
    """What the reference policy decides."""
    document: dict[str, Any] = reference.load(REFERENCE)
    return document


@pytest.fixture(scope="session")
def reference_cil(reference: ModuleType, decisions: dict[str, Any]) -> bytes:
    text: bytes = reference.to_cil(decisions)
    return text


@pytest.fixture(scope="session")
def reference_policy(reference_cil: bytes) -> Compiled:
    return compile_cil([("reference.cil", reference_cil)])


SMALL = """\
(handleunknown deny)
(mls true)
(class file (read write open))
(class dir (search add_name))
(class process (transition dyntransition fork))
(class tcp_socket (connect))
(classorder (file dir process tcp_socket))
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(category c1)
(category c2)
(categoryorder (c0 c1 c2))
(sensitivitycategory s0 (range c0 c2))
(role object_r)
(role proc_r)
(role other_r)
(type subject_t)
(type object_t)
(type third_t)
(roletype object_r object_t)
(roletype proc_r subject_t)
(roletype other_r third_t)
(user user_u)
(userrole user_u object_r)
(userrole user_u proc_r)
(userrole user_u other_r)
(userlevel user_u (s0))
(userrange user_u ((s0) (s0 (range c0 c2))))
(allow third_t third_t (dir (search)))
(sid kernel)
(sidcontext kernel (user_u proc_r subject_t ((s0) (s0))))
(sidorder (kernel))
"""


@pytest.fixture(scope="session")
def small() -> str:
    """CIL with names and no rule: a test adds those it is about."""
    return SMALL
