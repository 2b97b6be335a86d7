"""Which environments' data a run replaces."""

from datetime import UTC, datetime

import pytest

from homeport.backup.model import RETURNING, RUNNING, Run
from homeport.rollout.returning import replaces

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HERE = {"app": "shop", "environment": "production"}


def run(kind, **request):
    return Run("b-0123456789", kind, "x", RETURNING, request, "ada", RUNNING, (), "", NOW, None)


@pytest.mark.parametrize(
    ("what", "replaced"),
    [
        (run("restore", **HERE, plan=False, kept="x"), (("shop", "production"),)),
        (run("restore", **HERE, plan=False, paths=["storage/shop"]), (("shop", "production"),)),
        (
            run("restore", cluster="main", plan=False, environments=[["shop", "production"], ["blog", "staging"]]),
            (("shop", "production"), ("blog", "staging")),
        ),
        (run("clone", app="shop", **{"from": "production", "to": "staging"}), (("shop", "staging"),)),
        (run("restore", **HERE, plan=True), ()),
        (run("restore", **HERE, plan=False, tables=["orders"]), ()),
        (run("restore", **HERE, schema="restored_x", missing=True, changed=False), ()),
        (run("drill", scenario="table dropped"), ()),
    ],
)  # fmt: skip
def test_what_is_replaced(what, replaced):
    assert replaces(what) == replaced
