"""What the runtime is handed in the end: one spelling, of what was read, and nothing that could lead elsewhere by then.

The runtime here is a program that says how it was started.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.enforce.conftest import installed
from tests.enforce.containers import Site, identity, runnable
from tests.enforce.test_attempts_added import process

TELL = """#!/usr/bin/python3 -I
import json, os, resource, sys
limits = [resource.getrlimit(what)[1] for what in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)]
given = [open(word.partition("=")[2]).read() for word in sys.argv[1:] if "=/proc/self/fd/" in word]
print(json.dumps([sys.argv[1:], limits, given]))
"""


@pytest.fixture(scope="module")
def teller(place: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("teller")
    (folder / "runtime").write_text(TELL)
    (folder / "runtime").chmod(0o755)
    return installed(folder, bundle, str(folder / "runtime"))


def told(site: Site, *arguments: str) -> tuple[list[str], list[int], list[dict[str, object]]]:
    done = site.bare("--root", str(site.state), *arguments)
    assert done.returncode == 0, done.stderr
    words, limits, given = json.loads(done.stdout)
    assert words[0] == f"--root={site.state}"
    return words[1:], limits, [json.loads(text) for text in given]


def test_the_folder_that_was_read_is_the_one_that_is_named(teller: Site, tmp_path: Path) -> None:
    """A link may lead to another bundle by the time at which the runtime would follow it."""
    folder, name = teller.oci(runnable()), identity()
    (tmp_path / "link").symlink_to(folder)
    for spelled in (["--bundle", str(tmp_path / "link")], ["--bundle", "/elsewhere", "-b", f"{tmp_path}/./link"]):
        words, _, _ = told(teller, "create", *spelled, "--pid-file", "/p", name)
        assert sorted(words[1:-1]) == [f"--bundle={folder}", "--pid-file=/p"] and (words[0], words[-1]) == (
            "create",
            name,
        )


def test_a_specification_keeps_its_owner_and_mode(teller: Site) -> None:
    folder = teller.oci(runnable())
    path = folder / "config.json"
    path.chmod(0o604)
    os.chown(path, 1234, 4321)
    before = path.stat()
    told(teller, "create", "--bundle", str(folder), identity())
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, 1234, 4321)
    assert after.st_ino != before.st_ino, "written in its place, where half of it could be read"
    assert sorted(found.name for found in folder.iterdir()) == ["config.json", "rootfs"]


def test_an_added_command_has_what_runtimes_do_not_give_it_by_themselves(teller: Site) -> None:
    words, limits, _ = told(teller, "exec", "-u", "7", "name", "true", "--cap", "CAP_SYS_ADMIN")
    assert words == ["exec", "--user=7", "--no-new-privs", "name", "true", "--cap", "CAP_SYS_ADMIN"]
    assert limits[0] == 0 and limits[1] <= 32768


def test_a_process_and_limits_are_handed_over_where_nobody_can_change_them(teller: Site, tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text(json.dumps(process()))
    words, _, (given,) = told(teller, "exec", "--process", "/nonexistent", "-p", str(path), "name")
    (said,) = (word for word in words if word.startswith("--process="))
    assert words == ["exec", said, "name"] and said.startswith("--process=/proc/self/fd/")
    assert given["noNewPrivileges"] is True and "CAP_SYS_ADMIN" not in str(given["capabilities"])
    path.write_text(json.dumps({"pids": {"limit": 1 << 40}}))
    for spelled in (["-r", str(path)], ["--pids-limit", str(1 << 40), "--pids-limit=-1"]):
        words, _, (given,) = told(teller, "update", *spelled, "name")
        assert len(words) == 3 and words[1].startswith("--resources=/proc/self/fd/")
        assert given["pids"] == {"limit": 512}


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_descriptor_is_no_way_to_write_into_what_is_opened_in_its_place(closed: int, teller: Site) -> None:
    """A refusal is said on standard error; where that is closed, the file that has its number is not written to."""
    spec = json.dumps(runnable()).encode()[:-1] + b', "process": {}}'
    folder = teller.oci(spec)
    done = teller.call("run", "--bundle", str(folder), identity(), preexec_fn=lambda: os.close(closed))
    assert done.returncode == 1 and "twice" in teller.reasons()
    assert (folder / "config.json").read_bytes() == spec
    lines = (teller.log / "decisions.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["decision"] == "refused" and all(json.loads(line) for line in lines)
    assert (teller.log / "stockade.prom").read_text().startswith("# HELP")
    assert not any("stockade: policy" in line for line in lines)


def test_standard_error_that_cannot_be_written_to_does_not_keep_the_reason(teller: Site) -> None:
    """As containerd gives it to the sandbox of a pod."""
    folder = teller.oci(b"{")
    with Path(os.devnull).open("rb") as reading:
        done = teller.call("run", "--bundle", str(folder), identity(), capture_output=False, stderr=reading)
    assert done.returncode == 1 and "no JSON" in teller.reasons()
