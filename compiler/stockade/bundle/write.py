"""Writing a bundle: all of it or nothing, whatever fails and whenever the power goes.

Everything is built in a folder beside the target, made durable, and swapped in by one rename.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from stockade.bundle.manifest import NAME, SCHEMA, BundleError, Entry, Manifest, folders_of
from stockade.bundle.read import Bundle, extras

NEW, OLD = ".{}.stockade-new", ".{}.stockade-old"
"""Names beside the target: what is being built, and (only where names cannot be exchanged) what it replaces."""

MANY = 256
"""More new files and folders than this are made durable together with the rest of their file system."""

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file to be written: path relative to the bundle, content, media type."""

    path: str
    content: bytes
    media_type: str


def write(
    directory: Path,
    artefacts: Iterable[Artefact],
    *,
    policy_name: str,
    policy_version: str,
    source_digest: str,
    compiler_digest: str,
    complaining: Iterable[str] = (),
    standing: Bundle | None = None,
    kept: Iterable[Entry] = (),
    settled: int = 0,
) -> Manifest:
    """Puts a bundle at `directory` in one step and returns its manifest; digests are SHA-256 in hexadecimal.

    What stood there is still there after every failure, and gone after success. A folder is only replaced where it is
    empty or a bundle without files of anybody else. Files are 0644, folders 0755. Raises BundleError.

    `kept` are files of `standing`, the bundle that is there, which the new one has too: the same files under a second
    name. `settled` is when nothing of `standing` was being written any more, as `settle_time` gave it. Files that the
    kernel says have changed since are compared with their digests once more, as all are where nobody knows that time.
    """
    same = tuple(kept)
    files = sorted(artefacts, key=lambda artefact: artefact.path)
    manifest = Manifest(
        policy_name=policy_name,
        policy_version=policy_version,
        source=source_digest,
        compiler=compiler_digest,
        complaining=complaining,
        entries=[
            Entry(
                path=file.path,
                sha256=hashlib.sha256(file.content).hexdigest(),
                size=len(file.content),
                media_type=file.media_type,
            )
            for file in files
        ]
        + list(same),
    )
    target = Path(os.path.realpath(directory))
    if not target.name:
        raise BundleError(str(directory), "is the root of the filesystem")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _place(target.with_name(NEW.format(target.name))) as new:
            _recover(target)
            _refuse_foreign(target, standing)
            _keep(target, new, same, settled)
            for file in files:
                _file(new, file.path, file.content)
            _file(new, NAME, manifest.to_json())
            below = sorted(folders_of(entry.path for entry in manifest.entries), reverse=True)
            folders = [*(f"{new}/{folder}" for folder in below), str(new)]
            for folder in folders:
                os.chmod(folder, 0o755)  # noqa: PTH101 a path object for each of a thousand folders
            _settle(new, [*(file.path for file in files), NAME], folders)
            with _locked(target) as old:
                _swap(new, target)
                if old:
                    for leftover in (new, target.with_name(OLD.format(target.name))):
                        shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise BundleError(str(error.filename or directory), error.strerror or str(error)) from error
    return manifest


@contextlib.contextmanager
def _place(new: Path) -> Iterator[Path]:
    """An empty folder that this process alone builds in; what a killed build left in it is removed first."""
    with contextlib.ExitStack() as held:
        while True:
            with contextlib.suppress(FileExistsError):
                new.mkdir(0o700)
            descriptor = _lock(new)
            held.callback(os.close, descriptor)
            # Between opening and locking, another build may have finished with this folder.
            if _names(new, descriptor):
                break
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise BundleError(str(new), "belongs to another user")
        _empty(new)
        try:
            yield new
        except BaseException:
            # What cannot be removed now, the next build removes; so too the old bundle, if this is its name by now.
            if _names(new, descriptor):
                shutil.rmtree(new, ignore_errors=True)
            raise


def _names(folder: Path, descriptor: int) -> bool:
    """Whether a path is still that of the folder that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[bool]:
    """Whether there is a target; holds its lock, for under its new name no other build may take it for a leftover."""
    try:
        descriptor = _lock(target)
    except FileNotFoundError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise BundleError(str(folder), "is in the way: not a folder") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BundleError(str(folder), "another build is writing here") from error
    return descriptor


def _empty(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()


def _recover(target: Path) -> None:
    """Puts back what a build that was killed between two renames had moved aside."""
    old = target.with_name(OLD.format(target.name))
    if old.is_dir() and not old.is_symlink():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def _refuse_foreign(target: Path, known: Bundle | None) -> None:
    """Raises BundleError unless `target` is absent, empty, or a bundle with nothing else in it."""
    try:
        with os.scandir(target) as entries:
            if next(entries, None) is None:
                return
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise BundleError(str(target), "is not a folder") from error
    try:
        content = (target / NAME).read_bytes()
    except OSError as error:
        raise BundleError(str(target), f"is neither empty nor a bundle (no {NAME}); nothing was changed") from error
    if f'"{SCHEMA.partition("/")[0]}/'.encode() not in content:
        raise BundleError(str(target), f"is not a bundle ({NAME} is another program's); nothing was changed")
    try:
        same = known is not None and hashlib.sha256(content).hexdigest() == known.digest
        manifest = known.manifest if known is not None and same else Manifest.from_json(content)
    except BundleError as error:
        raise BundleError(str(target), f"holds a damaged bundle ({error}); move it away to build anew") from error
    if foreign := next(extras(str(target), manifest), None):
        raise BundleError(str(target), f"holds {foreign}, which no build put there; nothing was changed")


def _file(root: Path, path: str, content: bytes) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)


def settle_time(directory: Path) -> int:
    """Now, as the file system of a bundle dates changes, in nanoseconds since 1970; 0 where it does not say.

    Whatever changes from now on has a change time that is not before it. Only the kernel sets that time.
    """
    try:
        directory.chmod(0o755)
        return directory.stat().st_ctime_ns
    except OSError:
        return 0


def _keep(standing: Path, new: Path, entries: Iterable[Entry], settled: int) -> None:
    """Gives files of the standing bundle a second name in the new one, and sees that they are what they were."""
    for folder, files in groupby(entries, lambda entry: entry.path.rpartition("/")[0]):
        (new / folder).mkdir(parents=True, exist_ok=True)
        with _opened(standing / folder) as old, _opened(new / folder) as place:
            for entry in files:
                name = entry.path.rpartition("/")[2]
                found = os.stat(name, dir_fd=old, follow_symlinks=False)
                os.link(name, name, src_dir_fd=old, dst_dir_fd=place, follow_symlinks=False)
                if found.st_ctime_ns < settled:
                    _refuse_strange(entry, found)
                else:
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                    _look(entry, os.open(name, flags, dir_fd=place))


def _refuse_strange(entry: Entry, found: os.stat_result) -> None:
    """BundleError where this is no file as a build leaves it."""
    if (
        not stat.S_ISREG(found.st_mode)
        or found.st_size != entry.size
        or found.st_uid != os.geteuid()
        or found.st_mode & 0o7777 != 0o644
    ):
        raise BundleError(entry.path, "is not as a build left it")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _look(entry: Entry, descriptor: int) -> None:
    """BundleError unless the file that was opened is what the manifest says, as a build leaves it; closes it."""
    try:
        _refuse_strange(entry, os.fstat(descriptor))
        content = b""
        while len(content) < entry.size and (part := os.read(descriptor, entry.size - len(content))):
            content += part
    finally:
        os.close(descriptor)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(entry.path, "changed: it is not what the manifest says")


def _settle(new: Path, paths: list[str], folders: list[str]) -> None:
    """Makes all of a new bundle durable: one by one, or with one call where there is much that is new."""
    if len(paths) + len(folders) > MANY and _sync_filesystem(new):
        return
    for path in paths:
        _sync(f"{new}/{path}")
    for folder in folders:
        _sync(folder)


def _sync_filesystem(folder: Path) -> bool:
    """syncfs(2): true when it succeeded, false where there is no such call. OSError where something was not written."""
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) == 0:
            return True
    finally:
        os.close(descriptor)
    number = ctypes.get_errno()
    if number == errno.ENOSYS:
        return False
    raise OSError(number, os.strerror(number), str(folder))


def _sync(path: Path | str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, target: Path) -> None:
    """Makes `new` the target, durably; where that fails, everything has the name it had before."""
    with contextlib.ExitStack() as undo:
        if not target.exists():
            new.rename(target)
            undo.callback(target.rename, new)
        elif _exchange(new, target):
            undo.callback(_exchange, new, target)
        else:
            # For a moment the target is gone; `_recover` knows where to.
            aside = target.with_name(OLD.format(target.name))
            target.rename(aside)
            undo.callback(aside.rename, target)
            new.rename(target)
            undo.callback(target.rename, new)
        _sync(target.parent)
        undo.pop_all()


def _exchange(one: Path, other: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE: true, or false where the C library, kernel or filesystem has no such thing."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
