"""What is asked of a schema: which database is meant, and why it cannot be."""

from types import SimpleNamespace

import pytest

from homeport.database.errors import NOT_HERE
from homeport.database.migrations.errors import TRIAL_FAILED
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.data.schemas import Asked, Schemas
from homeport.rollout.data.wanted import NO_DATABASE
from homeport.spec.parse import parse

BASE = '[app]\nname = "shop"\n[processes.web]\ncommand = "true"\n'
OWN = '[database.main]\nmigrations = "sql"\n'
ATTACHED = OWN + 'url = "secret:THEIRS_URL"\n'
OTHERS = '[database.a]\nmigrations = "a"\n[database.b]\nmigrations = "b"\n'


def schemas(spec, answer):
    def ask(work, app, environment, name, request, **more):
        if isinstance(answer, Exception):
            raise answer
        return answer

    state = SimpleNamespace(environment=lambda app, name: SimpleNamespace(serving=ReleaseId("r1")))
    parts = SimpleNamespace(state=state, spec=lambda app, environment, release: parse(BASE + spec, path="x"))
    return Schemas(parts, SimpleNamespace(ask=ask))


def asked(database=None):
    return Asked(AppName("shop"), EnvironmentName("production"), database)


@pytest.mark.parametrize(("spec", "type"), [(ATTACHED, NOT_HERE), (OWN, TRIAL_FAILED)])
def test_without_a_scratch_database_an_attached_one_is_refused_with_the_reason(spec, type):
    made = schemas(spec, TRIAL_FAILED.error("cannot make a scratch database", details=["denied"]))
    with pytest.raises(HomeportError) as refused:
        made.verify(asked())
    assert refused.value.type is type
    assert "denied" in refused.value.details


@pytest.mark.parametrize(
    ("spec", "name", "found"),
    [
        (OWN, None, "main"),
        (OWN + OTHERS, None, "main"),
        (OTHERS, "b", "b"),
        (OTHERS, None, None),
        ("", None, None),
    ],
)
def test_the_only_one_or_else_main_is_meant(spec, name, found):
    made = schemas(spec, {})
    if found is not None:
        assert made.chosen(asked(name)).name == found
        return
    with pytest.raises(HomeportError) as refused:
        made.chosen(asked(name))
    assert refused.value.type is NO_DATABASE
