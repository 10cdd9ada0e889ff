"""Which containerd can do what: the version it gives of itself is read, and in doubt it is the oldest."""

from __future__ import annotations

import pytest
from stockade.enforce.nri.features import OLDEST, SINCE, runtime


@pytest.mark.parametrize(
    ("name", "said", "version", "known"),
    [
        ("containerd", "1.7.24~ds1", (1, 7, 24), True),
        ("containerd", "v2.2.0", (2, 2, 0), True),
        ("containerd", "2.3.1-1+deb14u1", (2, 2, 1), True),
        ("containerd", "v2.2.0-rc.1", (2, 0, 0), True),
        ("containerd", "2.2.0~rc1", (2, 0, 0), True),
        ("containerd", "1.7.0", (1, 7, 0), True),
        ("containerd", "1.6.20", OLDEST, False),
        ("containerd", "unknown", OLDEST, False),
        ("containerd", "", OLDEST, False),
        ("containerd", "2.2", OLDEST, False),
        ("containerd", "2.2.0.1", OLDEST, False),
        ("cri-o", "2.2.0", OLDEST, False),
    ],
)
def test_versions(name: str, said: str, version: tuple[int, int, int], known: bool) -> None:
    found = runtime(name, said)
    assert (found.version, found.known) == (version, known)


def test_a_feature_is_there_from_its_version_on() -> None:
    for feature, (major, minor, patch) in SINCE.items():
        assert runtime("containerd", f"{major}.{minor}.{patch}").can(feature)
        if patch:
            assert not runtime("containerd", f"{major}.{minor}.{patch - 1}").can(feature)
    assert runtime("containerd", "2.2.1").lacks() == []
    assert {"seccomp_policy", "namespaces", "pids", "validation"} <= set(runtime("containerd", "1.7.24").lacks())
