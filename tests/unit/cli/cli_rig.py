"""The command line against a client that answers from a table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import click
from click.testing import CliRunner, Result

from homeport.api.client import UNREACHABLE
from homeport.cli import app
from homeport.cli.context import Session

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


class FakeClient:
    """Answers by path; a value that is an error is raised. ``sent`` has the writes."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.streams: dict[str, list[tuple[str, Any] | BaseException]] = {}
        self.sent: list[tuple[str, str, Any]] = []

    def get(self, path: str, **query: object) -> Any:
        found = self.answers.get(path, UNREACHABLE.error(f"cannot answer {path}"))
        if isinstance(found, BaseException):
            raise found
        return found

    def text(self, path: str) -> str:
        return str(self.get(path))

    def send(self, method: str, path: str, body: object = None, **query: object) -> Any:
        self.sent.append((method, path, body))
        return self.get(path)

    def stream(self, path: str, **query: object) -> Iterator[tuple[str, Any]]:
        for message in self.streams[path]:
            if isinstance(message, BaseException):
                raise message
            yield message


@dataclass
class Cli:
    session: Session
    client: FakeClient
    lifecycle: SimpleNamespace
    made: list[dict[str, float]] = field(default_factory=list)
    """How each client of a command's own was made."""

    def run(self, *arguments: str, status: int = 0) -> Result:
        """Run as ``homeport`` does, errors and all."""

        @click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
        @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
        def command(rest: tuple[str, ...]) -> None:
            raise click.exceptions.Exit(app.run(self.session, list(rest)))

        result = CliRunner().invoke(command, list(arguments))
        assert result.exit_code == status, result.output
        return result

    def complete(self, *words: str) -> list[str]:
        """What the shell is offered for the last word."""
        from click.shell_completion import ShellComplete

        completer = ShellComplete(app.cli, {"obj": self.session}, "homeport", "_HOMEPORT_COMPLETE")
        return [c.value for c in completer.get_completions(list(words[:-1]), words[-1])]


def environment(name: str = "production", **more: Any) -> dict[str, Any]:
    return {
        "app": "shop", "name": name, "health": "up", "serving": "r1", "releases": ["r1"], "commit": None,
        "subject": None, "processes": [], "instances": [], "routes": [], "urls": [], "rollback_target": None,
        "change": None, "edge_answers": True, "modes": [],
    } | more  # fmt: skip


def change(kind: str = "deploy", release: str = "r2", **more: Any) -> dict[str, Any]:
    return {
        "id": "c-0123456789", "kind": kind, "app": "shop", "environment": "production", "release": release,
        "done": False, "failure": None, "result": None, "actor": "ada", "started_at": NOW.isoformat(),
        "finished_at": None,
    } | more  # fmt: skip


def ended(verdict: str, serving: str | None = "r1", **more: Any) -> dict[str, Any]:
    release = more.get("release", "r2")
    result = {"verdict": verdict, "release": release, "serving": serving, "seconds": 2.5}
    return change(done=True, result=result, **more)


def record(kind: str, **data: Any) -> tuple[str, dict[str, Any]]:
    return kind, {
        "seq": 1, "at": NOW.isoformat(), "kind": kind, "app": "shop", "environment": "production",
        "change": "c-0123456789", "actor": "ada", "data": data, "hash": "",
    }  # fmt: skip
