"""What a push may move, SSH keys, and the command behind them."""

import base64
from pathlib import Path

import pytest

from homeport.cli import git, receive
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ProcessName
from homeport.spec.model import Build, Pipeline, Process, Rollout, Spec

OLD, NEW, NONE = "1" * 40, "a" * 40, "0" * 40


def blob(type_: str = "ssh-ed25519", rest: bytes = b"\0\0\0\x20" + bytes(32)) -> str:
    return base64.b64encode(len(type_).to_bytes(4, "big") + type_.encode() + rest).decode()


KEY = f"ssh-ed25519 {blob()} anna@laptop"


def spec(app: str = "shop", branch: str = "main") -> Spec:
    web = Process(ProcessName("web"), "run")
    return Spec(AppName(app), Build(), (web,), (), Rollout(), pipeline=Pipeline(branch=branch))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (f"{OLD} {NEW} refs/heads/a\n{OLD} {NEW} refs/heads/b\n", "2 refs"),
        (f"{OLD} {NEW} refs/tags/v1\n", "tag v1"),
        (f"{OLD} {NEW} refs/notes/x\n", "neither"),
        (f"{OLD} {NEW} refs/sources/main\n", "neither"),
        (f"{OLD} {NEW} HEAD\n", "neither"),
        (f"{OLD} {NEW} refs/previews/A\n", "'A'"),
        (f"{OLD} {NEW} refs/previews/../x\n", "'../x'"),
        (f"{OLD} {NONE} refs/heads/main\n", "cannot delete"),
        ("", "0 refs"),
    ],
)
def test_refs_that_are_refused(lines: str, why: str) -> None:
    with pytest.raises(HomeportError) as e:
        receive.one_update(lines)
    assert why in e.value.sentence and e.value.hint


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_of_very_many_refs_the_last_may_be_cut_off(cut: int) -> None:
    line = f"{NONE} {NEW} refs/tags/{'x' * 40}\n"
    with pytest.raises(HomeportError, match="refs in one push"):
        receive.one_update(2 * line + line[: max(1, cut)])


def test_refs_that_are_taken() -> None:
    update = receive.one_update(f"{OLD} {NEW} refs/heads/main\n")
    assert (update.branch, update.preview, update.deletes) == ("main", None, False)
    update = receive.one_update(f"{OLD} {NONE} refs/previews/hats\n")
    assert (update.branch, update.preview, update.deletes) == (None, "hats", True)


def test_only_the_pipelines_branch() -> None:
    update = receive.one_update(f"{OLD} {NEW} refs/heads/main\n")
    receive.check_spec("shop", update, spec())
    with pytest.raises(HomeportError, match="starts from production"):
        receive.check_spec("shop", update, spec(branch="production"))
    with pytest.raises(HomeportError, match="names app shoe"):
        receive.check_spec("shop", update, spec("shoe"))
    preview = receive.one_update(f"{OLD} {NEW} refs/previews/hats\n")
    receive.check_spec("shop", preview, spec(branch="production"))


@pytest.mark.parametrize(
    "command",
    [
        "git-receive-pack 'shop.git'",
        "git-receive-pack '/shop.git'",
        "git receive-pack shop",
        "git-receive-pack shop.git/",
    ],
)
def test_git_over_ssh(command: str) -> None:
    assert git.wanted_service(command) == ("git-receive-pack", "shop")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "sh",
        "git-receive-pack",
        "git-receive-pack ''",
        "git-receive-pack '../shop.git'",
        "git-receive-pack '/etc/shop.git'",
        "git-receive-pack '--help'",
        "git-receive-pack 'shop.git' extra",
        "git-receive-pack 'shop.git'; id",
        "git-receive-pack 'shop.git\nid'",
        "git-receive-pack 'shop",
        "git-upload-archive 'shop.git'",
        "git config --global x",
    ],
)
def test_nothing_but_git_over_ssh(command: str) -> None:
    with pytest.raises(HomeportError) as e:
        git.wanted_service(command)
    assert e.value.code == "cli.not_git"


def test_the_line_of_a_key() -> None:
    line = git.key_line(Path('/data with "quotes"'), "anna", KEY)
    assert line.startswith('restrict,command="') and line.endswith(f'" ssh-ed25519 {blob()} anna')
    assert "'/data with \\\"quotes\\\"'" in line and "\n" not in line
    assert "laptop" not in line


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 not*base64",
        f"ssh-dss {blob('ssh-dss')}",
        f"ssh-rsa {blob()}",
        f"{KEY}\n{KEY}",
        f"{KEY}\nrestrict ssh-rsa x",
        f'command="id" {KEY}',
        f"ssh-ed25519  {blob()}",
        f"ssh-ed25519 {blob(rest=b'')}",
        f"ssh-ed25519 {blob(rest=bytes(9000))}",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nx",
    ],
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(HomeportError) as e:
        git.check_key(key)
    assert e.value.code == "cli.bad_key"


def test_keys_are_installed_once(tmp_path: Path) -> None:
    path = tmp_path / ".ssh" / "authorized_keys"
    line = git.key_line(Path("/data"), "anna", KEY)
    assert git.install_key(path, line)
    assert not git.install_key(path, line)
    assert path.read_text() == line + "\n"
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    path.write_text(f"# mine\nssh-rsa {blob('ssh-rsa')} me")
    assert git.install_key(path, line)
    assert path.read_text() == f"# mine\nssh-rsa {blob('ssh-rsa')} me\n{line}\n"
    with pytest.raises(HomeportError) as e:
        git.install_key(path, git.key_line(Path("/data"), "bob", KEY))
    assert e.value.code == "cli.key_taken"
    path.write_text(f"#{KEY}\n")
    assert git.install_key(path, line)
