"""Attempts to get around the wrapper by a container's specification, its spelling, or its surroundings."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.enforce.containers import HARMLESS, Site, identity, judge, runnable

FILE, NAME = "@file@", "@name@"


def _changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    spec = runnable()
    change(spec)
    return json.dumps(spec).encode()


CONFIGS: list[tuple[str, bytes]] = [
    ("a key twice", json.dumps(runnable()).encode()[:-1] + b', "process": {"capabilities": {}}}'),
    ("a number that is none", _changed(lambda s: s.update(x=float("nan")))),
    ("a number beyond 64 bits", json.dumps(runnable()).encode()[:-1] + b', "x": 18446744073709551616}'),
    ("nested deeply", b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
    ("huge", json.dumps(runnable()).encode() + b" " * (17 << 20)),
    ("empty", b""),
    ("cut off", json.dumps(runnable()).encode()[:-30]),
    ("a bracket", b"{"),
    ("two documents", json.dumps(runnable()).encode() * 2),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(runnable()).encode()),
    (
        "a raw filter that allows all",
        _changed(lambda s: s["annotations"].update({"run.oci.seccomp_bpf_data": "BgAAAAAA/38="})),
    ),
    ("another handler", _changed(lambda s: s["annotations"].update({"run.oci.handler": "krun"}))),
    (
        "host network",
        _changed(
            lambda s: s["linux"].update(namespaces=[n for n in s["linux"]["namespaces"] if n["type"] != "network"])
        ),
    ),
    ("host PIDs by a path", _changed(lambda s: s["linux"]["namespaces"][0].update(path="/proc/1/ns/pid"))),
    (
        "the runtime's own network by a path",
        _changed(lambda s: s["linux"]["namespaces"][4].update(path="/proc/self/ns/net")),
    ),
    ("a namespace that is not there", _changed(lambda s: s["linux"]["namespaces"][4].update(path="/proc/0/ns/net"))),
    (
        "the root",
        _changed(
            lambda s: s["mounts"].append({"destination": "/h", "type": "bind", "source": "/", "options": ["rbind"]})
        ),
    ),
    ("the host's root as its own", _changed(lambda s: s["root"].update(path="/"))),
    ("the host's root by way of its folder", _changed(lambda s: s["root"].update(path="../" * 40))),
    ("the host's programs as its root", _changed(lambda s: s["root"].update(path="/usr"))),
    ("all devices", _changed(lambda s: s["linux"]["resources"].update(devices=[{"allow": True, "access": "rwm"}]))),
    (
        "a block device",
        _changed(lambda s: s["linux"].update(devices=[{"path": "/dev/x", "type": "b", "major": 254, "minor": 0}])),
    ),
    ("process is no object", _changed(lambda s: s.update(process="x"))),
]


@pytest.mark.parametrize("content", [c for _, c in CONFIGS], ids=[n for n, _ in CONFIGS])
@pytest.mark.parametrize("which", ["runc", "crun"])
def test_a_specification(which: str, content: bytes, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(which)
    folder = site.oci(content)
    done = site.call("run", "--bundle", str(folder), identity())
    assert done.returncode == 1 and done.stdout == ""
    why = site.reasons()
    assert why.startswith("stockade: policy denied: type web: ") and "Error" not in why
    assert (folder / "config.json").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "rootfs"]


SPELLINGS = [
    ["run", "--bundle", FILE, NAME],
    ["run", "--bundle={FILE}", NAME],
    ["run", "-bundle", FILE, NAME],
    ["run", "-b", FILE, NAME],
    ["run", "-b={FILE}", NAME],
    ["run", NAME, "--bundle", FILE],
    ["run", "--bundle", "/nonexistent", "--bundle", FILE, NAME],
    ["run", "--bundle", "@link@", NAME],
    ["run", "--no-pivot=false", "--bundle", FILE, NAME],
    ["run", NAME],
]


@pytest.mark.parametrize("arguments", SPELLINGS, ids=[" ".join(a) for a in SPELLINGS])
def test_a_container_is_confined_however_its_bundle_is_named(arguments: list[str], runc: Site, tmp_path: Path) -> None:
    folder = runc.oci()
    (tmp_path / "link").symlink_to(folder)
    words = {FILE: str(folder), NAME: identity(), "@link@": str(tmp_path / "link")}
    given = [words.get(word, word).replace("{FILE}", str(folder)) for word in arguments]
    judge(runc, runc.call(*given, cwd=folder), HARMLESS)


BAD_CALLS = [
    ["restore", "--bundle", FILE, NAME],
    ["restore", "-b", FILE, "--image-path", "/tmp", NAME],
    ["run", "--config", "/tmp/other.json", "--bundle", FILE, NAME],
    ["run", "-f", "/tmp/other.json", "--bundle", FILE, NAME],
    ["run", "--bund", FILE, NAME],
    ["run", "--bundle", FILE, NAME, "another"],
    ["run", "--bundle"],
    ["run", "--bundle", "/nonexistent", NAME],
    ["run", "--bundle", "/proc/self/fd/0", NAME],
    ["--unknown", "run", "--bundle", FILE, NAME],
    ["--", "run", "--bundle", FILE, NAME],
    ["mount", NAME],
    ["RUN", "--bundle", FILE, NAME],
    ["", "--bundle", FILE, NAME],
]


@pytest.mark.parametrize("arguments", BAD_CALLS, ids=[" ".join(a) for a in BAD_CALLS])
@pytest.mark.parametrize("which", ["runc", "crun"])
def test_what_is_not_understood_is_not_run(which: str, arguments: list[str], request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(which)
    folder = site.oci()
    words = {FILE: str(folder), NAME: identity()}
    done = site.call(*[words.get(word, word) for word in arguments])
    assert done.returncode == 1 and "policy denied" in site.reasons()


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_a_specification_that_is_no_file(kind: str, runc: Site) -> None:
    folder = runc.oci()
    path = folder / "config.json"
    path.rename(folder / "other.json")
    if kind == "link":
        path.symlink_to("other.json")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    done = runc.call("run", "--bundle", str(folder), identity())
    assert done.returncode == 1 and "policy denied" in runc.reasons()


ENVIRONMENTS = {
    "PYTHONPATH": "{}",
    "PYTHONHOME": "{}",
    "PYTHONSTARTUP": "{}/evil.py",
    "PYTHONINSPECT": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONDEVMODE": "1",
    "LD_PRELOAD": "{}/evil.so",
    "LD_LIBRARY_PATH": "{}",
    "LD_AUDIT": "{}/evil.so",
    "GCONV_PATH": "{}",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "PATH": "{}",
    "HOME": "{}",
    "TMPDIR": "/nonexistent",
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_that_would_mislead(name: str, runc: Site, tmp_path: Path) -> None:
    for module in ("sitecustomize.py", "usercustomize.py", "stockade.py", "_json.py", "os.py", "evil.py"):
        (tmp_path / module).write_text("open('/proc/self/cwd/was-here', 'w')\n")
    source = tmp_path / "evil.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        "__attribute__((constructor)) void here(void) {\n"
        f'  close(open("{tmp_path}/was-here", O_CREAT | O_WRONLY, 0600)); }}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(tmp_path / "evil.so"), str(source)], check=True)
    folder = runc.oci()
    given = {**os.environ, name: ENVIRONMENTS[name].format(tmp_path)}
    judge(runc, runc.call("run", "--bundle", str(folder), identity(), env=given, cwd=tmp_path), HARMLESS)
    assert not (tmp_path / "was-here").exists()


Spoil = Callable[[Path], Any]
