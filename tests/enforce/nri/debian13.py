"""containerd 1.7 with NRI, from the next release of Debian: fetched by apt's own means, installed nowhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

RELEASE, PACKAGE = "trixie", "containerd"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror() -> str:
    """Where this machine gets Debian from."""
    form = "$(ORIGIN) $(REPO_URI)"
    told = subprocess.run(["apt-get", "indextargets", "--format", form], check=True, capture_output=True, text=True)
    rows = sorted({tuple(line.split()) for line in told.stdout.splitlines()})
    for origin, uri in rows:
        if origin == "Debian" and "security" not in uri:
            return uri
    raise RuntimeError(f"apt knows no mirror of Debian here: {rows}")


def containerd(folder: Path) -> Path:
    """The folder of containerd's programs, below `folder`."""
    programs = folder / "root/usr/bin"
    if (programs / "containerd").exists():
        return programs
    for name in ("lists/partial", "archives/partial", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {RELEASE} main\n")
    (folder / "apt.conf").write_text(f"""
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
""")
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    for words in (["update"], ["download", PACKAGE]):
        ran = subprocess.run(
            ["apt-get", "-q", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        if ran.returncode:
            raise RuntimeError(f"apt-get {' '.join(words)}: {ran.stderr}")
    (package,) = folder.glob(f"{PACKAGE}_*.deb")
    subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    return programs
