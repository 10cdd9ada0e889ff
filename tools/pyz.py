"""Builds stockade.pyz: the command line and what it needs of pure Python, in one file that any Python 3.11 runs.

Usage: pyz.py FILE. The same sources and libraries give the same bytes: entries are sorted, dated 1980, not compressed.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = {"click": "click", "yaml": "PyYAML", "elftools": "pyelftools"}
"""What judging a host and comparing two judgements import, with the distribution that each is of."""
MAIN = "import sys\n\nfrom stockade.cli.main import main\n\nsys.exit(main())\n"
SHEBANG = b"#!/usr/bin/python3 -I\n"
DATA = {".json", ".css"}


def entries() -> Iterator[tuple[str, bytes]]:
    """Name and content of everything that the file holds."""
    yield "__main__.py", MAIN.encode()
    yield from python(ROOT / "compiler/stockade", "stockade")
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        yield f"licenses/stockade/{name}", (ROOT / name).read_bytes()
    for package, name in LIBRARIES.items():
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            sys.exit(f"pyz: the Python package {package} is missing: make install")
        yield from python(Path(found.submodule_search_locations[0]), package)
        yield f"licenses/{name}", license_of(name)


def python(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """A package's modules and data; nothing that a machine has compiled."""
    for path in folder.rglob("*"):
        if path.is_file() and (path.suffix == ".py" or path.suffix in DATA) and "__pycache__" not in path.parts:
            yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def license_of(name: str) -> bytes:
    """The licence that a distribution comes under: it goes where the code goes."""
    for file in distribution(name).files or ():
        if file.name.upper().startswith(("LICENSE", "COPYING")):
            return Path(str(file.locate())).read_bytes()
    debian = Path(f"/usr/share/doc/python3-{name.lower().removeprefix('py')}/copyright")
    if not debian.is_file():
        sys.exit(f"pyz: {name} comes without its licence, and so it cannot be handed on")
    return debian.read_bytes()


def build(target: Path) -> int:
    """Writes the file beside its place and then into it; the bytes that it has."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in sorted(entries()):
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, content)
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(0o755)
    beside.replace(target)
    return target.stat().st_size


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: pyz.py FILE")
    print(f"{sys.argv[1]}: {build(Path(sys.argv[1])) / 1e6:.1f} MB")
