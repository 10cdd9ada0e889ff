"""The command: what it looks at before it asks a runtime anything, its exit codes, and what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stockade.cli.main import main
from stockade.enforce.nri import judge as judging
from stockade.enforce.nri.__main__ import main as bare
from stockade.enforce.nri.counters import Counters
from stockade.enforce.nri.judge import _leads_to, _shared
from stockade.enforce.nri.run import OPTIONS, PARTIAL

from .fake import Runtime
from .live import COMPILER
from .samples import container, pod

RECIPE = """
version = 3
[plugins."io.containerd.nri.v1.nri"]
socket_path = "{socket}"
[plugins."io.containerd.nri.v1.nri".default_validator]
enable = true
required_plugins = ["stockade"]
"""


@pytest.fixture
def host(tmp_path: Path, bundle: Path) -> list[str]:
    """The words for a host that fails closed, whose socket is `nri.sock` in `tmp_path`."""
    config = tmp_path / "config.toml"
    config.write_text(RECIPE.format(socket=tmp_path / "nri.sock"))
    config.chmod(0o644)
    return ["--bundle", str(bundle), "--containerd-config", str(config), "--wait", "0"]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "nri.sock", required=("stockade",))
    yield made
    made.close()


def test_help_says_first_that_it_is_partial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nri", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("no-new-\n  privileges", "no-new-privileges").split())
    assert "this plugin is partial: no version of NRI shows or sets SELinux label, capabilities" in said
    with pytest.raises(SystemExit):
        bare(["--help"])
    other = capsys.readouterr().out
    for name, _ in OPTIONS:
        assert f"--{name}" in said and f"--{name}" in other
    assert "verify-hook" in PARTIAL


@pytest.mark.parametrize(
    ("change", "answer", "said"),
    [
        (("enable = true", "enable = false"), 1, "default_validator.enable is not true"),
        (('"stockade"', '"other"'), 1, 'required_plugins does not name this plugin: add "stockade"'),
        (("version = 3", "version = 7"), 3, "version = 7"),
        (("version = 3", "version ="), 3, "config.toml"),
        (("socket_path", "disable = true\nsocket_path"), 3, ".disable is true: set it to false"),
        (("socket_path", "disable_connections = true\nsocket_path"), 3, ".disable_connections is true"),
    ],
)
def test_a_host_that_is_not_set_up_is_not_served(
    host: list[str], change: tuple[str, str], answer: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(host[3])
    config.write_text(config.read_text().replace(*change))
    assert main(["nri", *host]) == answer
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("stockade: ") and said in message
    assert bare(host) == answer
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bundle", "/nonexistent"], "/nonexistent"),
        (["--select", "/nonexistent"], "/nonexistent"),
        (["--name", "a b"], "no name of a plugin"),
        (["--index", "7"], "no index of a plugin"),
        (["--log", "/nonexistent/log"], "/nonexistent/log: No such file or directory"),
        ([], "nri.sock: No such file or directory"),
    ],
)
def test_what_is_missing_is_said(
    host: list[str], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(host[3])
    config.write_text(config.read_text().replace('["stockade"]', '["stockade", "a b"]'))
    assert main(["nri", *host, *words]) == 3
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("stockade: ") and said in message and "Traceback" not in message


def test_a_socket_that_others_can_reach_is_not_served(
    host: list[str], runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nri.sock").chmod(0o666)
    assert main(["nri", *host]) == 1
    assert "nri.sock is writable by others: chmod go-w" in capsys.readouterr().err
    assert runtime.plugins == []


def test_it_serves_until_it_is_told_to_stop(host: list[str], runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "events"
    code = f"import sys; sys.path.insert(0, {str(COMPILER)!r}); from stockade.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "nri", *host, "--log", str(log), "--counters", str(tmp_path / "p")],
        stderr=subprocess.PIPE,
        text=True,
    )
    runtime.wait(lambda: bool(runtime.live()))
    runtime.create(pod(), container())
    deadline = time.monotonic() + 5
    while not (tmp_path / "p").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "connected",
        "configured",
        "synchronized",
        "created",
        "disconnected",
    ]
    assert events[1]["fails_open"] == [] and events[-1]["reason"] == "stopped"
    assert all(event["time"].endswith("Z") for event in events)


def test_decisions_are_counted(tmp_path: Path) -> None:
    passed: list[str] = []
    counters = Counters(str(tmp_path / "nri.prom"), lambda event, **_: passed.append(event))
    counters.flush()
    assert list(tmp_path.iterdir()) == []
    counters.log("connected", socket="x")
    for _ in range(2):
        counters.log("created", type="web")
    counters.log("refused", type="", reason="x")
    counters.log("refused", type="web", reason="x", dry_run=True)
    counters.flush()
    assert (tmp_path / "nri.prom").read_text().splitlines()[2:] == [
        'stockade_decisions_total{type="",verb="create",decision="refused"} 1',
        'stockade_decisions_total{type="web",verb="create",decision="confined"} 2',
        'stockade_decisions_total{type="web",verb="create",decision="would-be-refused"} 1',
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["nri.prom"]
    assert passed == ["connected", "created", "created", "refused", "refused"]
    lost = Counters("/nonexistent/x", lambda event, **_: passed.append(event))
    lost.log("created", type="web")
    lost.flush()
    assert passed[-1] == "not-counted"


def test_accepting_is_repeated_in_each_report(host: list[str], tmp_path: Path) -> None:
    config = Path(host[3])
    config.unlink()
    runtime = Runtime(tmp_path / "nri.sock")
    (tmp_path / "nri.sock").chmod(0o666)
    log = tmp_path / "events"
    words = [*host, "--accept-fail-open", "--socket", str(tmp_path / "nri.sock"), "--log", str(log)]
    code = f"import sys; sys.path.insert(0, {str(COMPILER)!r}); from stockade.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, "nri", *words])
    runtime.wait(lambda: bool(runtime.live()))
    process.terminate()
    assert process.wait(10) == 0
    runtime.close()
    events = {(said := json.loads(line))["event"]: said for line in log.read_text().splitlines()}
    assert "is writable by others" in events["exposed"]["reason"]
    assert "configuration cannot be read" in events["configured"]["fails_open"][0]


def test_a_launched_plugin_ends_with_its_connection(
    host: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setenv("NRI_PLUGIN_SOCKET", str(os.dup(ours.fileno())))
    monkeypatch.setenv("NRI_PLUGIN_NAME", "stockade")
    monkeypatch.setenv("NRI_PLUGIN_IDX", "07")
    ours.close()
    # Launched it needs no connections from outside.
    config = Path(host[3])
    config.write_text(config.read_text().replace("socket_path", "disable_connections = true\nsocket_path"))
    runtime = Runtime(tmp_path / "unused.sock")
    found: list[object] = []

    def end() -> None:
        found.append(runtime.adopt(theirs))
        time.sleep(0.05)
        runtime.close()

    ending = threading.Thread(target=end)
    ending.start()
    assert main(["nri", *host, "--log", str(tmp_path / "events")]) == 0
    ending.join(5)
    assert [plugin.index for plugin in runtime.plugins] == ["07"]


def test_a_link_is_followed_to_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("/nowhere/at/all")
    assert _leads_to(str(tmp_path / "link")) == str(tmp_path / "real")
    assert _leads_to(str(tmp_path / "dangling")) == "/nowhere/at/all"
    assert _leads_to(str(tmp_path / "absent")) == str(tmp_path / "absent")


def test_whose_a_namespace_is(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = "/proc/5/ns/net", "/proc/6/ns/net"
    inodes = {own: (4, 1), "/proc/1/ns/net": (4, 1), other: (4, 2)}

    def inode(path: str) -> tuple[int, int]:
        if path not in inodes:
            raise FileNotFoundError(path)
        return inodes[path]

    monkeypatch.setattr(judging, "_inode", inode)
    judging._first.cache_clear()

    def shared(path: str, *kinds: str) -> list[str]:
        spec = {"linux": {"namespaces": [{"type": "network", "path": path}, {"type": "mount"}]}}
        return _shared(spec, {"namespaces": [{"type": kind} for kind in kinds]})

    assert shared(own, "network") == [own]
    assert shared(other, "network") == []
    assert shared(other, "pid") == [other]
    assert shared("/proc/7/ns/net", "network") == []
    assert shared("/proc/7/ns/net") == ["/proc/7/ns/net"]
    judging._first.cache_clear()
