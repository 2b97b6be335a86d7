"""What every command knows: where Homeport lives, which app and environment are meant."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from homeport.api.client import Client
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import PRODUCTION, is_name

if TYPE_CHECKING:
    from homeport.spec.model import Spec

NO_APP = declare("cli.no_app", Kind.INVALID, "A command cannot tell which app is meant.")
BAD_NAME = declare(
    "cli.bad_name", Kind.INVALID, "What was given as an app, environment or process is no name of one."
)

SPEC = "homeport.toml"


def name(what: str, text: str) -> str:
    """``text``, when it may name an app, an environment or a process. Raises ``cli.bad_name``."""
    if not is_name(text):
        raise BAD_NAME.error(
            f"cannot use {text!r} as the {what}'s name",
            hint="1 to 40 of a-z, 0-9 and inner hyphens, beginning with a letter",
        )
    return text


def _of_app(text: str, key: str) -> str | None:
    """What stands in ``[app]`` of a homeport.toml, as a text; None where nothing does.

    The rest is not looked at: a file in the middle of an edit must not stand in the way of a rollback, nor have
    it take back another environment.
    """
    try:
        found = tomllib.loads(text).get("app", {}).get(key)
    except (tomllib.TOMLDecodeError, AttributeError):
        line = rf"""^\s*\[app\]\s*(?:#.*)?$[^\[]*?^\s*{key}\s*=\s*["']([^"']+)["']"""
        match = re.search(line, text, re.MULTILINE)
        found = match[1] if match else None
    return str(found) if found is not None else None


def _parsed(text: str, path: Path) -> "Spec":
    # Most commands read no more than a name: what reads all of it takes a tenth of a second to be imported.
    from homeport.spec.parse import parse

    return parse(text, path=str(path))


@dataclass
class Session:
    """Made by ``main`` from the process environment, completed by the global options."""

    data_dir: Path
    clock: Clock
    directory: Path
    """Where the command was called."""
    variables: dict[str, str]
    """The caller's environment, for ``exec``."""
    lifecycle: Any
    """``homeport.main.lifecycle``'s functions, handed down: the CLI does not reach up for them."""
    json: bool = False
    app_option: str | None = None
    environment_option: str | None = None
    _client: Client | None = field(default=None, repr=False)

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.data_dir)
        return self._client

    def patient(self, timeout: float) -> Client:
        """A client for a call that may take ``timeout`` seconds to answer."""
        return Client(self.data_dir, timeout=timeout)

    def acts_as(self, actor: str) -> None:
        """Ask in another's name from here on: that of an SSH key, not of the user who runs git for it."""
        self._client = Client(self.data_dir, actor=actor)

    def project(self) -> Path | None:
        """The nearest directory, from here upwards, that holds a homeport.toml."""
        for directory in (self.directory, *self.directory.parents):
            if (directory / SPEC).is_file():
                return directory
        return None

    @property
    def app(self) -> str:
        """The app meant: ``--app``, else the one whose repository this is. Raises ``cli.no_app``."""
        if self.app_option is not None:
            return name("app", self.app_option)
        project = self.project()
        if project is None:
            raise NO_APP.error(
                f"cannot tell which app is meant: no {SPEC} in {self.directory} or above",
                hint="go to the app's repository, or name it with --app; homeport init starts a new one",
            )
        text = (project / SPEC).read_text("utf-8", "replace")
        told = _of_app(text, "name")
        return told if told and is_name(told) else _parsed(text, project / SPEC).app

    @property
    def environment(self) -> str:
        """The environment meant: ``--env``, else the one that the app's homeport.toml names as its default."""
        if self.environment_option is not None:
            return name("environment", self.environment_option)
        project = self.project() if self.app_option is None else None
        told = _of_app((project / SPEC).read_text("utf-8", "replace"), "environment") if project else None
        return name("environment", told) if told is not None else PRODUCTION

    def _spec_here(self) -> "Spec | None":
        """The spec of the app around here; None where there is none, or it cannot be read just now."""
        project = self.project() if self.app_option is None else None
        if project is None:
            return None
        try:
            return _parsed((project / SPEC).read_text("utf-8", "replace"), project / SPEC)
        except HomeportError:
            return None

    def declared_secrets(self) -> list[str]:
        """What the homeport.toml here declares as secrets of the environment: it may not be deployed yet."""
        spec = self._spec_here()
        if spec is None:
            return []
        return [v.name for v in spec.for_environment(self.environment).variables if v.secret]

    @property
    def declared(self) -> bool:
        """Whether the homeport.toml here names the environment: it may not be deployed yet."""
        spec = self._spec_here()
        names = [name for name, _ in spec.environments] if spec is not None else []
        return self.environment in names

    def path(self, rest: str = "") -> str:
        """The API path of the app's environment."""
        return f"/v1/apps/{self.app}/environments/{self.environment}{rest}"

    def show(self, data: Any, people: Callable[[Any], None]) -> None:
        """Print data: as one JSON document with ``--json``, else for people."""
        if self.json:
            click.echo(json.dumps(data, indent=2))
        else:
            people(data)


pass_session = click.make_pass_decorator(Session)
