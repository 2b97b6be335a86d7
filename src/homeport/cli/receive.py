"""``homeport git-receive``: what a push to an app's repository runs, before git takes it (pre-receive).

git keeps what was pushed apart until this ends with status 0, and then moves the ref; otherwise nothing of it is
left. So a branch here is always at a commit whose run passed, or waits for a person.
"""

import contextlib
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from homeport.cli import pipeline, progress, screen
from homeport.cli.context import SPEC, Session, name, pass_session
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import is_name
from homeport.kernel.units import format_size
from homeport.spec.model import Spec
from homeport.spec.parse import parse
from homeport.system import process

REFUSED = declare(
    "cli.push_refused", Kind.INVALID, "What was pushed to an app's repository is nothing that it takes."
)
RACED = declare(
    "cli.push_raced", Kind.CONFLICT, "Two pushes that do not contain each other came at the same time."
)

PUSHER = "HOMEPORT_PUSHER"
"""Environment variable: who pushes, as the forced command of an SSH key says."""
MAX_FILE = 200_000_000
"""Bytes of one file. The limit for a whole push counts compressed bytes, and a gigabyte of zeros is few."""
MAX_FILES = 2_000_000_000
"""Bytes of a commit's files together, as an archive. A tree can name one file any number of times."""
MAX_SPEC = 256_000
HEADS, PREVIEWS = "refs/heads/", "refs/previews/"
GIT_TIMEOUT = 300.0
_QUARANTINE = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


@dataclass(frozen=True, slots=True)
class Update:
    """A line that git gives the hook."""

    old: str
    new: str
    ref: str

    @property
    def deletes(self) -> bool:
        return set(self.new) == {"0"}

    @property
    def preview(self) -> str | None:
        return self.ref.removeprefix(PREVIEWS) if self.ref.startswith(PREVIEWS) else None

    @property
    def branch(self) -> str | None:
        return self.ref.removeprefix(HEADS) if self.ref.startswith(HEADS) else None


def one_update(text: str) -> Update:
    """The one ref that a push may move. Raises ``cli.push_refused``."""
    # Of very many the last line may be cut off.
    updates = [Update(*f"{line}  ".split(" ", 2)) for line in text.splitlines()]
    if len(updates) != 1:
        raise REFUSED.error(
            f"cannot take {len(updates)} refs in one push",
            hint="push one branch at a time: git push homeport main",
        )
    update = replace(updates[0], ref=updates[0].ref.rstrip(" "))
    if update.ref.startswith("refs/tags/"):
        raise REFUSED.error(
            f"cannot take tag {update.ref.removeprefix('refs/tags/')}: a tag starts nothing",
            hint="push the branch: git push homeport main",
        )
    preview = update.preview
    if preview is not None and not is_name(preview):
        raise REFUSED.error(
            f"cannot make a preview named {preview!r}",
            hint="1 to 40 of a-z, 0-9 and inner hyphens, beginning with a letter: refs/previews/NAME",
        )
    if update.branch is None and preview is None:
        raise REFUSED.error(
            f"cannot take {update.ref}: it is neither a branch nor a preview",
            hint="git push homeport main, or git push homeport HEAD:refs/previews/NAME",
        )
    if update.deletes and preview is None:
        raise REFUSED.error(
            f"cannot delete branch {update.branch}: what ran is known by it",
            hint="homeport destroy takes an app away",
        )
    return update


def check_spec(app: str, update: Update, spec: Spec) -> None:
    """That the pushed commit is this app's and comes on the branch it names. Raises ``cli.push_refused``."""
    if spec.app != app:
        raise REFUSED.error(
            f"cannot take the push: its {SPEC} names app {spec.app}, and this is the repository of {app}",
            hint="homeport remote, in the app's repository, adds the right one",
        )
    wanted = spec.pipeline.branch
    if update.branch is not None and update.branch != wanted:
        raise REFUSED.error(
            f"cannot take branch {update.branch}: the pipeline of {app} starts from {wanted}",
            hint=f"git push homeport HEAD:{wanted}, or a preview of it: "
            "git push homeport HEAD:refs/previews/NAME",
        )


@click.command("git-receive", hidden=True)
@click.argument("repository", metavar="APP")
@pass_session
def git_receive(session: Session, repository: str) -> None:
    """Run by git when an app's repository is pushed to."""
    app = name("app", repository)
    if pusher := session.variables.get(PUSHER):
        session.acts_as(pusher)
    update = one_update(sys.stdin.read(1_000_000))
    if update.deletes:
        _remove_preview(session, app, update.preview or "")
        return
    commit = _Commit(session, update.new)
    spec = commit.spec()
    check_spec(app, update, spec)
    commit.check_sizes()
    if update.preview is not None:
        change = session.client.send(
            "POST", f"/v1/apps/{app}/previews", commit.preview(session, update.preview)
        )
        _follow_preview(session, change)
        return
    _run(session, app, update, commit)


def _run(session: Session, app: str, update: Update, commit: "_Commit") -> None:
    under_way = _under_way(session, app, update)
    run = next((r for r in under_way if r["commit"] == update.new), None)
    if run is not None:
        click.echo(f"a run of this commit is under way: #{run['number']}")
    else:
        for other in under_way:
            if not commit.contains(other["commit"]):
                raise RACED.error(
                    f"cannot take the push: #{other['number']} is under way for {other['commit'][:10]}, "
                    "which this does not contain",
                    hint="push again when it has ended, with its commit merged; or take it back: "
                    f"homeport pipeline cancel {other['number']}",
                )
        run = session.client.send("POST", f"/v1/apps/{app}/runs", commit.run(session, update))
        if under_way:
            click.echo(f"#{run['number']} is queued behind #{under_way[0]['number']}")
    pipeline.follow(session, run)
    commit.give_way(update)


def _under_way(session: Session, app: str, update: Update) -> list[dict[str, Any]]:
    """Runs of pushes to this branch that have not come to their end or to a gate, the newest first."""
    try:
        found = session.client.get(f"/v1/apps/{app}/runs")
    except HomeportError as e:
        if e.kind is not Kind.NOT_FOUND:
            raise
        return []  # its first push
    return [
        r
        for r in sorted(found, key=lambda r: -int(r["number"]))
        if r["state"] in ("queued", "running")
        and r["cause"] == "push"
        and r["branch"] == update.branch
        and r["commit"] != update.old
    ]


def _follow_preview(session: Session, made: dict[str, Any]) -> None:
    if made["change"]:
        progress.follow(session, made["change"])
    for url in made["urls"]:
        click.echo(f"preview: {url}")


def _remove_preview(session: Session, app: str, preview: str) -> None:
    try:
        session.client.send("DELETE", f"/v1/apps/{app}/previews/{preview}")
    except HomeportError as e:
        if e.kind is not Kind.NOT_FOUND:
            raise
        screen.note(f"there was no preview {preview}")
        return
    click.echo(f"preview {preview} is removed")


class _Commit:
    """The pushed commit, as git has it apart. git runs the hook in the repository."""

    def __init__(self, session: Session, id: str) -> None:
        self._session = session
        self.id = id
        kind = self._git("cat-file", "-t", id, check=False).stdout.strip()
        if kind != "commit":
            raise REFUSED.error(f"cannot run {id[:10]}: it is no commit but a {kind or 'broken object'}")
        self._directory = self._git("config", "--get", "homeport.directory", check=False).stdout.strip()

    def spec(self) -> Spec:
        """Its homeport.toml. Raises ``cli.push_refused``, and all that is wrong in the file."""
        where = f"{self._directory}/{SPEC}" if self._directory else SPEC
        size = self._git("cat-file", "-s", f"{self.id}:{where}", check=False)
        if not size.ok:
            raise REFUSED.error(
                f"cannot run {self.id[:10]}: it holds no {where}",
                hint="homeport init writes one: git add homeport.toml && git commit, then push again; "
                "of an app elsewhere in its repository: homeport remote, there, says so",
            )
        if int(size.stdout) > MAX_SPEC:
            raise REFUSED.error(
                f"cannot run {self.id[:10]}: its {where} is larger than {format_size(MAX_SPEC)}"
            )
        return parse(self._git("cat-file", "blob", f"{self.id}:{where}").stdout, path=where)

    def check_sizes(self) -> None:
        """Raises ``cli.push_refused`` when one of the new files is larger than :data:`MAX_FILE`."""
        new = ("--objects", "--filter-print-omitted", f"--filter=blob:limit={MAX_FILE}")
        listed = self._git("rev-list", "--no-object-names", *new, self.id, "--not", "--all").stdout
        for line in listed.splitlines():
            if line.startswith("~"):
                size = int(self._git("cat-file", "-s", line[1:]).stdout)
                raise REFUSED.error(
                    f"cannot take the push: it holds a file of {format_size(size)}, "
                    f"and {format_size(MAX_FILE)} is the most",
                    hint="take it out of the history (git rebase, or git filter-repo), not only of the last commit",
                )

    def contains(self, other: str) -> bool:
        return self._git("merge-base", "--is-ancestor", other, self.id, check=False).ok

    def run(self, session: Session, update: Update) -> dict[str, Any]:
        return self._asked(session) | {"branch": update.branch, "cause": "push"}

    def preview(self, session: Session, preview: str) -> dict[str, Any]:
        return self._asked(session) | {"branch": preview, "name": preview}

    def _asked(self, session: Session) -> dict[str, Any]:
        # A subject may be as long as a push.
        told = self._git("log", "-1", "--format=%<(500,trunc)%s%x00%an <%ae>%x00%cI", self.id, "--").stdout
        subject, author, at = told.strip("\n").split("\0")
        committed_at: str | None = None
        with contextlib.suppress(ValueError):
            # git takes any number of seconds, and shows those that are no date as it likes.
            committed_at = datetime.fromisoformat(at).isoformat()
        tree = f"{self.id}:{self._directory}" if self._directory else self.id
        with tempfile.TemporaryDirectory(prefix="homeport-push-") as directory:
            tar = Path(directory) / "tar"
            packed = self._git(
                "archive", "--format=tar", f"--output={tar}", tree, check=False, most=MAX_FILES
            )
            if not packed.ok and tar.exists() and tar.stat().st_size >= MAX_FILES:
                raise REFUSED.error(
                    f"cannot take the push: its files are larger than {format_size(MAX_FILES)} together"
                )
            if not packed.ok:
                why = packed.stderr.strip().splitlines()[-1:]
                raise REFUSED.error(f"cannot read the files of {self.id[:10]}", details=why)
            with open(tar, "rb") as file:
                archive = session.client.upload("/v1/archives", file)["digest"]
        return {
            "archive": archive,
            "commit": self.id,
            "subject": subject.rstrip()[:500],
            "author": author[:300],
            "committed_at": committed_at,
        }

    def give_way(self, update: Update) -> None:
        """When an earlier push moved the ref meanwhile: have git move it on all the same.

        git moves it only from where it was when the push began. So it is put back there, when what was pushed
        contains what the ref moved to. Raises ``cli.push_raced`` when it does not.
        """
        outside = {k: v for k, v in self._session.variables.items() if k not in _QUARANTINE}
        found = self._git("rev-parse", "--verify", "--quiet", update.ref, check=False, env=outside)
        now = found.stdout.strip() if found.ok else "0" * len(update.old)
        if now == update.old:
            return
        if not self.contains(now):
            raise RACED.error(
                f"cannot move {update.ref}: it moved to {now[:10]} meanwhile, which this push does not contain",
                hint="the run has ended as told above; fetch, merge and push again",
            )
        argv = ("update-ref", update.ref, update.old, now)
        if set(update.old) == {"0"}:
            argv = ("update-ref", "-d", update.ref, now)
        self._git(*argv, env=outside)

    def _git(
        self, *arguments: str, check: bool = True, env: dict[str, str] | None = None, most: int | None = None
    ) -> process.Result:
        """``most``: bytes of a file that it writes; it is ended when it goes on."""
        limit = ("prlimit", f"--fsize={most}") if most is not None else ()
        return process.run((*limit, "git", *arguments), timeout=GIT_TIMEOUT, check=check, env=env)
