"""What no run is called is not found, like one that is gone: no complaint about patterns."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from homeport.api import backups, drills, problems
from homeport.backup.drills.records import Reports
from homeport.backup.runs import Runs


@pytest.fixture
def call():
    kept = Runs(None)  # nothing that is no id gets as far as the store
    services = SimpleNamespace(
        backups=SimpleNamespace(backups=SimpleNamespace(runs=kept, cancel=lambda run, actor: kept.get(run))),
        drills=SimpleNamespace(reports=Reports(None)),
    )
    app = FastAPI()
    problems.install(app, lambda text: text)
    for room in (backups, drills):
        app.include_router(room.router(services), prefix="/v1")

    async def ask(method, path):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://homeport") as session:
            return await session.request(method, path)

    return lambda method, path: asyncio.run(ask(method, path))


@pytest.mark.parametrize("name", ["nope", "last", "b-0123", "B-0123456789"])
def test_no_id(call, name):
    found = call("GET", f"/v1/backups/runs/{name}")
    assert (found.status_code, found.json()["code"]) == (404, "backup.unknown_run")
    assert found.json()["detail"] == f"cannot find run {name!r}"
    assert found.json()["hint"] == "homeport backup runs"
    assert call("POST", f"/v1/backups/runs/{name}/cancel").json()["code"] == "backup.unknown_run"
