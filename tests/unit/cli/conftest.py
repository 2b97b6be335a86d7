"""A command line with a fake client."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_rig import NOW, Cli, FakeClient

from homeport.cli import app, begin, screen
from homeport.cli.context import Session


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    client = FakeClient()
    lifecycle = SimpleNamespace()
    session = Session(
        data_dir=Path("/data"),
        clock=SimpleNamespace(now=lambda: NOW),
        directory=tmp_path,
        variables={},
        lifecycle=lifecycle,
        app_option="shop",
        _client=client,
    )
    made = Cli(session, client, lifecycle)

    def make(data_dir: Path, **how: float) -> FakeClient:
        made.made.append(how)
        return client

    for module in (app, begin):
        monkeypatch.setattr(module, "Client", make)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    return lambda width: monkeypatch.setattr(screen, "width", lambda: width)
