"""Writes the NRI plugin as an OCI image, for hosts that have no interpreter: `nri_image.py -o FILE [--bundle DIR]`.

The image holds this machine's own Python, cut down to the modules that the plugin imports, the libraries that these
need, and `stockade`. Nothing is fetched. The same machine gives the same bytes. `ctr images import FILE` takes it, as
do skopeo and podman; docs/nri.md says how it is run as a host container.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

COMPILER = Path(__file__).resolve().parent.parent / "compiler"
PYTHON = Path("/usr/bin/python3")
HOME = "usr/lib/stockade"
BUNDLE = "etc/stockade/bundle"
START = f"{HOME}/start"
STARTER = f"""#!{{python}} -IS
import sys

sys.path.insert(0, "/{HOME}")
from stockade.enforce.nri.__main__ import main

sys.exit(main())
"""
# Modules that are imported by and by are those of asking for help; what serving needs stands at the top of modules.
ASK = """
import contextlib, sys
sys.path.insert(0, {compiler!r})
from stockade.enforce.nri.__main__ import main
with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
    main(["--help"])
for module in list(sys.modules.values()):
    if path := getattr(module, "__file__", None):
        print(path)
print(sys.executable)
"""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def wanted() -> Iterator[Path]:
    """Every file of this machine that the plugin needs at run time: modules, extensions, the interpreter, libraries."""
    code = ASK.format(compiler=str(COMPILER))
    told = subprocess.run([PYTHON, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    files = [Path(line) for line in told.stdout.splitlines()]
    files[-1] = files[-1].resolve()
    yield from files
    libraries = {path for path in files if path.suffix == ".so"} | {files[-1]}
    found = subprocess.run(["ldd", *sorted(libraries)], check=True, capture_output=True, text=True)
    for line in found.stdout.splitlines():
        words = line.split()
        yield from (Path(word) for word in words if word.startswith("/") and not word.endswith(":"))


def contents(bundle: Path | None) -> dict[str, tuple[bytes, int]]:
    """Path in the image to content and mode."""
    made: dict[str, tuple[bytes, int]] = {}
    for path in wanted():
        place = f"{HOME}/{path.relative_to(COMPILER)}" if path.is_relative_to(COMPILER) else str(path).lstrip("/")
        made[place] = path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644
    python = next(name for name in made if name.startswith("usr/bin/python3"))
    made[START] = STARTER.format(python=f"/{python}").encode(), 0o755
    if bundle is not None:
        for path in bundle.rglob("*"):
            if path.is_file():
                made[f"{BUNDLE}/{path.relative_to(bundle)}"] = path.read_bytes(), 0o644
    return made


def packed(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar of files and their folders, in order and without a date."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted({*files, *folders}):
            entry = tarfile.TarInfo(name)
            if name in files:
                data, entry.mode = files[name]
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
    return made.getvalue()


def image(files: Mapping[str, tuple[bytes, int]], name: str, entrypoint: list[str]) -> bytes:
    """An OCI image layout as one tar, with one layer, under one name."""
    blobs: dict[str, tuple[bytes, int]] = {}

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data, 0o644
        return {"digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    layer = packed(files)
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": "0"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", **blob(json.dumps(config, sort_keys=True).encode())},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar+gzip", **blob(gzip.compress(layer, mtime=0))}],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.index.v1+json",
        "manifests": [
            {
                "mediaType": f"{kind}.manifest.v1+json",
                **blob(json.dumps(manifest, sort_keys=True).encode()),
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
            }
        ],
    }
    blobs["index.json"] = json.dumps(index, sort_keys=True).encode(), 0o644
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}', 0o644
    return packed(blobs)


def main() -> int:
    """Write the image that the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--bundle", type=Path, help=f"a bundle to put at /{BUNDLE}; without it, mount one there")
    parser.add_argument("--name", default="localhost/stockade-nri:latest", help="name of the image")
    options = parser.parse_args()
    files = contents(options.bundle)
    entrypoint = [f"/{START}", "--bundle", f"/{BUNDLE}"]
    data = image(files, options.name, entrypoint)
    beside = options.output.with_name(f".{options.output.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(options.output)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{options.output}: {len(data) / 1e6:.1f} MB, {len(files)} files, entrypoint {' '.join(entrypoint)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
