"""Whatever stands in a file that is called a profile: a policy or one line, never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import SyscallPolicy
from stockade.model.syscalls import NAMES
from stockade.seccomp.honour import RUNTIMES, unhonoured
from stockade.seccomp.judge import PolicyJudge
from stockade.seccomp.outline import outline
from stockade.seccomp.profile import DOCKER_CAPS, NEWEST, read_profile
from stockade.seccomp.profile_json import ProfileError
from stockade.seccomp.validate import check_policy

from tests.seccomp.profiles import SHIPPED, encoded, profiles

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
WORDS = (
    "defaultAction defaultErrnoRet defaultErrno architectures archMap flags listenerPath syscalls names name action "
    "errnoRet errno args comment includes excludes caps arches minKernel index value valueTwo op SCMP_ACT_ALLOW "
    "SCMP_ACT_ERRNO SCMP_ACT_NOTIFY SCMP_CMP_EQ SCMP_CMP_MASKED_EQ SCMP_ARCH_X86_64 EPERM CAP_CHOWN amd64 4.8 read "
    "socket ociVersion linux seccomp"
).split()
scalars = (
    st.none() | st.booleans() | st.integers(-2, 1 << 65) | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


def judged(data: bytes) -> None:
    try:
        found = read_profile(data)
    except ProfileError as error:
        said = str(error)
        assert said.isprintable() and 0 < len(said) < 400 and said.startswith("$")
    else:
        assert isinstance(found.policy, SyscallPolicy)
        check_policy(found.policy)


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    judged(data)


@FUZZ
@given(anything)
def test_any_structure(value: Any) -> None:
    judged(json.dumps(value).encode())


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [here, *(path for key, item in inner for path in paths(item, (*here, key)))]


WHOLE = json.loads(SHIPPED)
WHOLE["syscalls"] = [{**item, "names": item["names"][:2]} for item in WHOLE["syscalls"]]
PLACES = [path for path in paths(WHOLE) if path]


@FUZZ
@given(st.sampled_from(PLACES), anything, st.booleans())
def test_one_place_of_a_real_profile_changed(path: tuple[Any, ...], value: Any, drop: bool) -> None:
    broken = copy.deepcopy(WHOLE)
    parent = broken
    for key in path[:-1]:
        parent = parent[key]
    if drop:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    judged(json.dumps(broken).encode())


@FUZZ
@given(st.integers(0, len(SHIPPED)), st.binary(max_size=3), st.integers(0, 3))
def test_the_text_of_a_real_profile_changed(at: int, more: bytes, less: int) -> None:
    judged(SHIPPED[:at] + more + SHIPPED[at + less :])


@settings(FUZZ, max_examples=60)
@given(profiles, st.sets(st.sampled_from(sorted(NAMES))))
def test_whatever_reads_is_explained(said: dict[str, Any], lacking: set[str]) -> None:
    found = read_profile(encoded(said), ("x86_64", "i386") if "architectures" in said else ("x86_64",), CAPABILITIES)
    sections, foreign = outline(PolicyJudge(found.policy, found.archs))
    assert [section.arch for section in sections] == ["x86_64"] and foreign == ("kill-thread",)
    for runtime in RUNTIMES:
        findings = unhonoured(found, "x86_64", runtime, DOCKER_CAPS, NEWEST, NAMES - lacking)
        assert all(one.path.startswith("$") and one.message.isprintable() for one in findings)
