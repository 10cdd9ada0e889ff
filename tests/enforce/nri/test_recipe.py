"""containerd's configuration and sockets, and which of them let containers start without the plugin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stockade.enforce.nri.recipe import SOCKET, RecipeError, read, trusted

CLOSED = """
version = {version}
[plugins."io.containerd.nri.v1.nri"]
disable = false
[plugins."io.containerd.nri.v1.nri".default_validator]
enable = true
required_plugins = ["other", "stockade"]
"""
root = pytest.mark.skipif(os.getuid() != 0, reason="owners can be judged by root alone")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that root alone can write to, from the root folder on; `tmp_path` is below a sticky one."""
    tmp_path.chmod(0o755)
    return tmp_path


def write(folder: Path, text: str, name: str = "config.toml") -> str:
    (folder / name).write_text(text)
    (folder / name).chmod(0o644)
    return str(folder / name)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("required", ["stockade", "10-stockade"])
def test_the_whole_recipe(folder: Path, version: int, required: str) -> None:
    found = read(write(folder, CLOSED.format(version=version).replace("stockade", required)), "stockade", "10")
    assert (found.open, found.off, found.rejects, found.socket) == ((), (), (), SOCKET)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("enable = true", "enable = false", "default_validator.enable is not true: set it to true"),
        ("enable = true", 'enable = "true"', "default_validator.enable is not true"),
        ("enable = true", "", "default_validator.enable is not true"),
        (', "stockade"', "", 'required_plugins does not name this plugin: add "stockade"'),
        ('"stockade"', '"stockade2"', 'required_plugins does not name this plugin: add "stockade"'),
        ('"stockade"', '"11-stockade"', 'required_plugins does not name this plugin: add "stockade"'),
        ('["other", "stockade"]', '"stockade"', "required_plugins does not name this plugin"),
        (
            "enable = true",
            'enable = true\ntolerate_missing_plugins_annotation = "lenient"',
            "tolerate_missing_plugins_annotation lets a pod do without (lenient)",
        ),
    ],
)
def test_each_half_that_is_missing_is_named(folder: Path, old: str, new: str, finding: str) -> None:
    found = read(write(folder, CLOSED.format(version=3).replace(old, new)), "stockade", "10")
    assert len(found.open) == 1 and finding in found.open[0]
    assert found.open[0].startswith('plugins."io.containerd.nri.v1.nri".default_validator.')


def test_an_empty_configuration_is_open(folder: Path) -> None:
    assert len(read(write(folder, "version = 3"), "stockade", "10").open) == 2


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("disable = false", "disable = true", ".disable is true"),
        ("disable = false", "disable_connections = true", ".disable_connections is true"),
        ("version = 2", 'version = 2\ndisabled_plugins = ["io.containerd.nri.v1.nri"]', "disabled_plugins names"),
    ],
)
def test_what_keeps_the_plugin_away_is_named(folder: Path, old: str, new: str, finding: str) -> None:
    found = read(write(folder, CLOSED.format(version=2).replace(old, new)), "stockade", "10")
    assert len(found.off) == 1 and finding in found.off[0] and found.open == ()


def test_what_the_host_rejects_is_named(folder: Path) -> None:
    text = CLOSED.format(version=2) + "reject_namespace_adjustment = true\nreject_sysctl_adjustment = false\n"
    found = read(write(folder, text), "stockade", "10")
    assert len(found.rejects) == 1 and "reject_namespace_adjustment" in found.rejects[0] and found.open == ()


def test_imports_are_followed_and_cannot_hide_anything(folder: Path) -> None:
    (folder / "conf.d").mkdir(mode=0o755)
    part = '[plugins."io.containerd.nri.v1.nri".default_validator]\n'
    main = write(folder, 'imports = ["conf.d/*.toml", "config.toml"]\n' + CLOSED.format(version=3))
    assert read(main, "stockade", "10").open == ()
    write(folder, "version = 3\n" + part + "enable = false", "conf.d/a.toml")
    assert any(".enable is not true" in finding for finding in read(main, "stockade", "10").open)
    # A section that says only one key: merged it leaves the rest, replaced it takes the rest away.
    write(folder, "version = 3\n" + part + "enable = true", "conf.d/a.toml")
    assert [finding.split(":")[0].split(".")[-1] for finding in read(main, "stockade", "10").open] == [
        "required_plugins does not name this plugin"
    ]
    write(folder, CLOSED.format(version=2).replace('"other", ', ""), "conf.d/a.toml")
    assert read(main, "stockade", "10").open == ()
    write(folder, '[plugins."io.containerd.nri.v1.nri"]\nsocket_path = "/x"\n' + CLOSED.format(version=2), "b.toml")


def test_sockets_that_depend_on_the_reading_are_no_answer(folder: Path) -> None:
    text = CLOSED.format(version=3).replace("disable = false", 'socket_path = "/run/a.sock"')
    main = write(folder, 'imports = ["b.toml"]\n' + text)
    write(folder, CLOSED.format(version=3), "b.toml")
    with pytest.raises(RecipeError, match=r"socket_path depends on .* /run/a\.sock or /var/run"):
        read(main, "stockade", "10")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version = ", "Invalid value"),
        ("version = 1", "version = 1"),
        ("", "version = 1"),
        ("version = 4", "version = 4"),
        ('version = 3\nimports = "a"', "imports is no list"),
        ("version = 3\nplugins = 5", "plugins is no table"),
        ('version = 3\n[plugins]\n"io.containerd.nri.v1.nri" = 5', "is no table"),
        ('version = 3\n[plugins."io.containerd.nri.v1.nri"]\ndefault_validator = 5', "is no table"),
        ('version = 3\nimports = ["absent.toml"]', "No such file"),
        ('version = 3\nimports = ["folder"]', "Is a directory"),
    ],
)
def test_what_cannot_be_understood_is_no_answer(folder: Path, text: str, reason: str) -> None:
    (folder / "folder").mkdir()
    with pytest.raises(RecipeError, match=reason):
        read(write(folder, text), "stockade", "10")


@root
def test_who_else_could_write_is_named(folder: Path) -> None:
    main = write(folder, CLOSED.format(version=3))
    assert trusted(main) == []
    (folder / "config.toml").chmod(0o664)
    assert trusted(main) == [f"{main}: {main} is writable by others: chmod go-w {main}"]
    assert read(main, "stockade", "10").open == (f"{main}: {main} is writable by others: chmod go-w {main}",)
    (folder / "config.toml").chmod(0o644)
    os.chown(main, 1000, 0)
    assert trusted(main, "socket") == [f"socket: {main} belongs to user 1000: chown root {main}"]
    os.chown(main, 0, 0)
    folder.chmod(0o777)
    assert len(trusted(main)) == 1
    folder.chmod(0o755)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link.toml").symlink_to(main)
    elsewhere.chmod(0o777)
    assert str(elsewhere) in trusted(str(elsewhere / "link.toml"))[0]
    with pytest.raises(RecipeError, match="No such file"):
        trusted(str(folder / "absent"))
