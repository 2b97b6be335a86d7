"""How the planner sees what a change before its kill has begun."""

from types import SimpleNamespace

import pytest

from homeport.rollout.advance import as_seen
from homeport.runtime.model import InstanceState, InstanceStatus

NAME = "shop.production.r2.web.1"


def instance(change):
    return SimpleNamespace(
        name=NAME, release="r2", process="web", n=1, port=20001, config="x", change=change, ready=False, weight=0,
        retire_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "is_there"),
    [
        (None, False),
        # Killed after its program was written, before its supervisor was told: nothing ended, it is started anew.
        (InstanceStatus(NAME, InstanceState.STOPPED, known=False), False),
        (InstanceStatus(NAME, InstanceState.STOPPED), True),
        (InstanceStatus(NAME, InstanceState.STARTING), True),
    ],
)
def test_what_was_never_started_is_not_there(status, is_there):
    mine = as_seen(instance("c-1"), SimpleNamespace(id="c-1"), status, False)
    assert (mine is not None) is is_there
    # What another change has begun is there until it is taken away.
    assert as_seen(instance("c-0"), SimpleNamespace(id="c-1"), status, False) is not None
