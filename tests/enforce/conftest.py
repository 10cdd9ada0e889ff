"""Profiles of the shipped policy's container types, as enforcement reads them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.core import Profile
from stockade.enforce.install import Installation, install
from stockade.lab.host import HostRun
from stockade.lab.host.packages import SUITE, WANTED, packages, unpack

from tests.enforce.containers import Site, able, identity
from tests.enforce.guest import boot

PROFILES = Path(__file__).resolve().parents[2] / "profiles/containers"
TYPES = sorted(path.name for path in PROFILES.iterdir())


def profile_of(name: str) -> Profile:
    """A shipped type's profile."""
    folder = PROFILES / name
    files = ((folder / file).read_bytes() for file in ("oci.json", "seccomp.json"))
    return Profile.from_files(*files, defaults=("container_t", "data_t"))


@pytest.fixture(params=TYPES)
def profile(request: pytest.FixtureRequest) -> Profile:
    return profile_of(request.param)


@pytest.fixture
def web() -> Profile:
    return profile_of("web")


def installed(folder: Path, bundle: Path, runtime: str, **options: Any) -> Site:
    """An installation of a copy of the bundle, as `stockade hook install` makes it."""
    copy = folder / "bundle"
    shutil.copytree(bundle, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    site = Site(folder, copy, runtime)
    site.state.mkdir()
    install(
        Installation(
            bundle=str(copy),
            prefix=str(folder / "prefix"),
            runtime=str(shutil.which(runtime)),
            python="/usr/bin/python3",
            log=str(site.log),
            without=("selinux",),
            records=str(folder / "decided"),
            **options,
        )
    )
    return site


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := able():
        pytest.fail(f"containers cannot be started here: missing {', '.join(missing)}", pytrace=False)
    return tmp_path_factory.mktemp("enforced")


@pytest.fixture(scope="session")
def runc(place: Path, bundle: Path) -> Site:
    (place / "runc").mkdir()
    return installed(place / "runc", bundle, "runc")


@pytest.fixture(scope="session")
def crun(place: Path, bundle: Path) -> Site:
    (place / "crun").mkdir()
    return installed(place / "crun", bundle, "crun")


@pytest.fixture(scope="session")
def victim(runc: Site) -> Iterator[str]:
    """The name of a container of type `web` that does nothing, for others to be added to and changed."""
    name = identity()
    folder = runc.oci(command="exec sleep 600")
    with Path(os.devnull).open("r+b") as nothing:
        done = runc.call(
            "run",
            "--detach",
            "--bundle",
            str(folder),
            name,
            capture_output=False,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
        )
    assert done.returncode == 0, runc.reasons()
    yield name
    assert runc.call("delete", "--force", name).returncode == 0


def containerd(folder: Path, suite: str = SUITE) -> Path:
    """The folder of a Debian suite's containerd, unpacked there and installed nowhere: 1.7 of the lab's, 1.6 of 12."""
    wanted = WANTED if suite == SUITE else ("containerd",)
    (package,) = (package for package in packages(wanted, suite=suite) if package.name == "containerd")
    for path, entry in unpack(package).nodes.items():
        if path.startswith("usr/bin/"):
            (folder / Path(path).name).write_bytes(entry.data)
            (folder / Path(path).name).chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return containerd(tmp_path_factory.mktemp("debian13"))


@pytest.fixture(scope="session")
def guest(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> HostRun:
    """One boot of the guest host, in which everything is tried that needs one."""
    return boot(bundle, tmp_path_factory.mktemp("guest"))
