"""Commands for where an app's commits come from: pushes, SSH keys, a repository elsewhere."""

import base64
import binascii
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import SPEC, Session, pass_session
from homeport.cli.receive import PUSHER
from homeport.cli.ship import NO_SPEC_HERE
from homeport.cli.source import NO_REPOSITORY
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import is_name
from homeport.kernel.units import format_duration, parse_duration
from homeport.spec.parse import parse
from homeport.system import files, process

REMOTE_TAKEN = declare(
    "cli.remote_taken", Kind.CONFLICT, "The repository has a remote of that name that points elsewhere."
)
BAD_KEY = declare("cli.bad_key", Kind.INVALID, "What was given is no public SSH key, or its name no name.")
KEY_TAKEN = declare("cli.key_taken", Kind.CONFLICT, "The SSH key is there already, with other rights.")
NOT_GIT = declare("cli.not_git", Kind.INVALID, "An SSH key of git-key was used for something else than git.")
BAD_POLL = declare("cli.bad_poll", Kind.INVALID, "The time between two looks at a branch cannot be read.")

REMOTE = "homeport"
KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
_PERSON = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_SERVICES = ("git-receive-pack", "git-upload-pack")
GIT_TIMEOUT = 30.0


@click.command()
@pass_session
def remote(session: Session) -> None:
    """Add the git remote "homeport": a push to it is a run of the pipeline.

    Makes the repository that takes the pushes, in the data directory.
    """
    project = session.project()
    if project is None:
        raise NO_SPEC_HERE.error(
            f"cannot add a remote: there is no {SPEC} in {session.directory} or above",
            hint="homeport init writes one",
        )
    inside = _git(project, "rev-parse", "--show-prefix")
    if not inside.ok:
        raise NO_REPOSITORY.error(
            f"cannot add a remote: {project} is in no git repository", hint="git init && git add -A"
        )
    app = session.app
    branch = _branch(project)
    known = _git(project, "config", "--get", f"remote.{REMOTE}.url").stdout.strip()
    made = session.client.send(
        "POST", f"/v1/apps/{app}/repository", {"directory": inside.stdout.strip().strip("/")}
    )
    path = made["path"]
    if known and known != path:
        raise REMOTE_TAKEN.error(
            f"cannot add the remote {REMOTE}: it points to {known}",
            hint=f"git remote rename {REMOTE} other, then again; or name another one yourself: "
            f"git remote add NAME {shlex.quote(path)}",
        )
    if not known:
        added = _git(project, "remote", "add", REMOTE, path)
        if not added.ok:
            raise REMOTE_TAKEN.error(
                f"cannot add the remote {REMOTE}", details=added.stderr.strip().splitlines()[:3]
            )
    data = {"app": app, "remote": REMOTE, "path": path, "added": not known, "branch": branch}

    def show(found: dict[str, Any]) -> None:
        click.echo(f"{'added' if found['added'] else 'there already'}: remote {REMOTE}, {path}")
        click.echo(f"now: git push {REMOTE} HEAD:{branch}")

    session.show(data, show)


def _branch(project: Path) -> str:
    return parse((project / SPEC).read_text("utf-8", "replace"), path=str(project / SPEC)).pipeline.branch


def _git(directory: Path, *arguments: str) -> process.Result:
    return process.run(("git", *arguments), timeout=GIT_TIMEOUT, cwd=directory, check=False)


# SSH


def wanted_service(command: str) -> tuple[str, str]:
    """(service, app) of what an SSH client asks for: a push or a fetch. Raises ``cli.not_git``."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if len(words) == 3 and words[0] == "git":
        words = [f"git-{words[1]}", words[2]]
    if len(words) == 2 and words[0] in _SERVICES:
        app = words[1].removeprefix("/").removesuffix("/").removesuffix(".git")
        if is_name(app):
            return words[0], app
        raise NOT_GIT.error(
            f"cannot find a repository {words[1][:100]!r}", hint="the address is USER@HOST:APP.git"
        )
    raise NOT_GIT.error(
        "cannot run that: this key pushes and fetches with git, and nothing else",
        hint="git remote add homeport USER@HOST:APP.git",
    )


@click.command("git-shell", hidden=True)
@click.argument("person")
@pass_session
def git_shell(session: Session, person: str) -> None:
    """The forced command of an SSH key: git's two services for apps' repositories."""
    service, app = wanted_service(session.variables.get("SSH_ORIGINAL_COMMAND", ""))
    if service == "git-receive-pack":
        session.client.send("POST", f"/v1/apps/{app}/repository", {})
    path = session.data_dir / "repositories" / f"{app}.git"
    if not path.is_dir():
        raise NOT_GIT.error(f"cannot find a repository of {app}", hint="a first push makes it")
    env = {k: v for k, v in session.variables.items() if not k.startswith("GIT_") or k == "GIT_PROTOCOL"}
    env[PUSHER] = _person(person)
    process.replace((service, str(path)), cwd=Path("/"), env=env, user=None)


@click.command("git-key")
@click.argument("person", metavar="NAME")
@click.argument("key")
@click.option("--install", is_flag=True, help="Append it to ~/.ssh/authorized_keys of the user that you are.")
@pass_session
def git_key(session: Session, person: str, key: str, install: bool) -> None:
    """Let an SSH KEY push, as NAME, and do nothing else: prints the line for ~/.ssh/authorized_keys.

    KEY is the content of a public key's file: homeport git-key anna "$(cat anna.pub)"
    """
    line = key_line(session.data_dir, _person(person), key)
    if not install:
        session.show({"line": line}, lambda found: click.echo(found["line"]))
        return
    home = Path(session.variables.get("HOME") or Path.home())
    path = home / ".ssh" / "authorized_keys"
    is_new = install_key(path, line)
    session.show(
        {"line": line, "path": str(path), "installed": is_new},
        lambda _: click.echo(f"{person} may push now" if is_new else f"{person} may push already"),
    )


def _person(text: str) -> str:
    if _PERSON.fullmatch(text) is None:
        raise BAD_KEY.error(
            f"cannot use {text[:64]!r} as a name", hint="1 to 64 of letters, digits and . _ @ -, such as anna"
        )
    return text


def key_line(data_dir: Path, person: str, key: str) -> str:
    """The line of authorized_keys for a public key. Raises ``cli.bad_key``."""
    type_, blob = check_key(key)
    argv = (
        sys.executable,
        "-P",
        "-m",
        "homeport.main.entry",
        "git-shell",
        person,
        "--data-dir",
        str(data_dir),
    )
    command = shlex.join(argv).replace("\\", "\\\\").replace('"', '\\"')
    if any(not c.isprintable() for c in command):
        raise BAD_KEY.error(f"cannot write a line for {data_dir}: it has a character that is none to print")
    return f'restrict,command="{command}" {type_} {blob} {person}'


def check_key(key: str) -> tuple[str, str]:
    """(type, base64) of a public key, its comment left out. Raises ``cli.bad_key``."""
    hint = 'the content of a .pub file: homeport git-key anna "$(cat ~/.ssh/id_ed25519.pub)"'
    if "PRIVATE KEY" in key:
        raise BAD_KEY.error("cannot take that key: it is a private one", hint=hint)
    words = key.strip().split(" ")
    if "\n" in key.strip() or len(words) < 2 or words[0] not in KEY_TYPES:
        raise BAD_KEY.error("cannot read that as a public SSH key", hint=hint)
    type_, blob = words[:2]
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    # RFC 4253, 6.6: the key begins with its own type, its length before it.
    head = len(type_).to_bytes(4, "big") + type_.encode()
    if not raw.startswith(head) or not len(head) + 4 <= len(raw) <= 8192:
        raise BAD_KEY.error(f"cannot read that as a public SSH key: it is no {type_}", hint=hint)
    return type_, blob


def install_key(path: Path, line: str) -> bool:
    """Append a line to authorized_keys, all else kept; False when it is there. Raises ``cli.key_taken``."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    place = path.resolve()
    before = place.read_text("utf-8", "surrogateescape") if place.exists() else ""
    blob = line.split(" ")[-2]
    for known in before.splitlines():
        if known == line:
            return False
        if blob in known.split() and not known.lstrip().startswith("#"):
            raise KEY_TAKEN.error(
                f"cannot install the key: {path} has it already, with other rights or another name",
                hint="take that line out first: with it the key may do more, or acts as someone else",
            )
    whole = before if not before or before.endswith("\n") else before + "\n"
    files.write_atomic(place, os.fsencode(whole + line + "\n"), mode=0o600)
    return True


# A repository elsewhere


@click.group("source")
def source() -> None:
    """A repository elsewhere that an app is fetched from, by webhook or by looking."""


@source.command("set")
@click.argument("url")
@click.option("--branch", default="main", show_default=True, help="The branch whose commits run.")
@click.option("--poll", metavar="TIME", help="Look at the branch every TIME, such as 60s. Default: do not.")
@click.option("--directory", default="", help="Of the app within the repository. Default: its root.")
@click.option(
    "--token-from",
    metavar="SOURCE",
    help="Where the token that the repository asks for is read from, now: file:/PATH or command:LINE. "
    'It is kept sealed. "" forgets it.',
)
@pass_session
def set_(
    session: Session, url: str, branch: str, poll: str | None, directory: str, token_from: str | None
) -> None:
    """Fetch the app from URL: https, ssh, or an absolute path. With --poll what it holds now runs at once."""
    wanted = {
        "url": url,
        "branch": branch,
        "poll": _seconds(poll) if poll is not None else None,
        "directory": directory,
        "token_from": token_from,
    }
    found = session.client.send("PUT", f"/v1/apps/{session.app}/source", wanted)
    session.show(found, _show)


@source.command("show")
@pass_session
def show(session: Session) -> None:
    """What it is fetched from, what ran last, and what is wrong."""
    session.show(session.client.get(f"/v1/apps/{session.app}/source"), _show)


@source.command("webhook")
@pass_session
def webhook(session: Session) -> None:
    """Make a fresh secret for the webhook and print it, this once. An earlier one holds no more."""
    made = session.client.send("POST", f"/v1/apps/{session.app}/source/webhook", {})

    def tell(found: dict[str, Any]) -> None:
        click.echo(f"path:   {found['path']}")
        click.echo(f"secret: {found['secret']}")
        click.echo(
            "Payload URL: any of the app's hosts with that path. Content type: application/json. Events: pushes, "
            "and pull requests for previews. GitLab: the secret is its signing token.",
            err=True,
        )

    session.show(made, tell)


@source.command("remove")
@pass_session
def remove(session: Session) -> None:
    """Fetch it from nowhere any more; git push goes on."""
    app = session.app
    session.client.send("DELETE", f"/v1/apps/{app}/source")
    session.show({"app": app, "removed": True}, lambda _: click.echo(f"{app} has no source any more"))


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as e:
        raise BAD_POLL.error(f"cannot read {text!r} as a time", hint="such as 60s or 5m") from e


def _show(found: dict[str, Any]) -> None:
    click.echo(f"{screen.bold(found['app'])} from {found['url']}, branch {found['branch']}")
    if found["directory"]:
        click.echo(f"  directory  {found['directory']}")
    click.echo(
        f"  looks      {'every ' + format_duration(found['poll']) if found['poll'] else 'not by itself'}"
    )
    click.echo(f"  webhook    {found['webhook'] or 'none; homeport source webhook makes one'}")
    click.echo(f"  token      {'kept, sealed' if found['credential'] else 'none'}")
    click.echo(f"  last run   {found['seen'][:10] if found['seen'] else 'none'}")
    if found["waiting"]:
        click.echo(f"  waiting    {found['waiting']}")
    if found["problem"]:
        click.echo(f"  problem    {screen.printable(found['problem'])}")
