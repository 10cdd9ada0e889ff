"""Which type a launcher decided for a container: a link for each, in a folder that its owner alone writes to.

A specification can be changed after the launcher has written it; this cannot. A link is made in one step and read in
one, and nobody has to remove it: those of containers whose bundle has gone are swept when the next container starts.
"""

from __future__ import annotations

import os
import stat

from stockade.enforce.pinned import digest_of
from stockade.enforce.refusal import CONFINED, WELL_FORMED, refuse

FOLDER = "/run/stockade/containers"


class Decided:
    """The decisions in `folder`, written by the user `owner` or by root. All methods raise Refused."""

    def __init__(self, folder: str, owner: int = 0) -> None:
        self.folder = folder
        self.owner = owner

    def remember(self, root: str, name: str, bundle: str, kind: str) -> None:
        """That the container `name` of the runtime's state folder `root`, with this bundle, is of the type `kind`."""
        beside = f"{self.folder}/.{os.getpid()}"
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            self._trusted()
            self._sweep(beside)
            os.symlink(f"{kind} {_named(name)} {bundle}", beside)
            os.replace(beside, self._path(root, name))
        except OSError as error:
            raise refuse(CONFINED, f"{self.folder}: which type it is of cannot be kept: {error.strerror}") from None

    def of(self, root: str, name: str) -> str | None:
        """The type of a container of a runtime's state folder, None where no launcher decided on it."""
        try:
            target = os.readlink(self._path(root, name))
            self._trusted()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refuse(CONFINED, f"{self.folder}: {error.strerror}") from None
        return target.partition(" ")[0]

    def with_bundle(self, name: str, bundle: str) -> str:
        """The type of the container of that name and bundle; refused where no launcher decided on it."""
        try:
            self._trusted()
            found = {kind for kind, own, folder in self._all() if (own, folder) == (name, bundle)}
        except OSError as error:
            raise refuse(CONFINED, f"{self.folder}: {error.strerror}") from None
        if len(found) != 1:
            raise refuse(CONFINED, f"no launcher decided of which type the container {name} with {bundle} is")
        return found.pop()

    def _path(self, root: str, name: str) -> str:
        return f"{self.folder}/{digest_of(f'{os.path.realpath(root)} {_named(name)}'.encode())[:32]}"

    def _trusted(self) -> None:
        found = os.lstat(self.folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, self.owner) or found.st_mode & 0o022:
            raise refuse(CONFINED, f"{self.folder}: not a folder that its owner alone may write to")

    def _all(self) -> list[list[str]]:
        """Type, name and bundle of each container."""
        found = []
        for entry in os.listdir(self.folder):
            try:
                if not entry.startswith("."):
                    found.append(os.readlink(f"{self.folder}/{entry}").split(" ", 2))
            except FileNotFoundError:  # swept meanwhile
                continue
        return found

    def _sweep(self, beside: str) -> None:
        """Take out the links to bundles that have gone, and what a process of the same number left behind."""
        for entry in os.listdir(self.folder):
            path = f"{self.folder}/{entry}"
            try:
                if path == beside or not os.path.isdir(os.readlink(path).split(" ", 2)[2]):
                    os.unlink(path)
            except FileNotFoundError:  # swept meanwhile
                continue


def _named(name: str) -> str:
    if not name or "/" in name or " " in name:
        raise refuse(WELL_FORMED, f"a container of the name {name!r}")
    return name
