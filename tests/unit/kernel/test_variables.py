"""One rule for names of variables: spec, settings and secrets say the same."""

import pytest

from homeport.guard import rules as secrets
from homeport.kernel.variables import BY_COMMIT_ONLY, LARGEST_VALUE, RESERVED, is_given, is_reserved
from homeport.rollout import rules as settings
from homeport.spec import variables as spec


@pytest.mark.parametrize("name", [*RESERVED, "HOMEPORT_X", "1A", "a-b", "", "x" * 129, "A\n", "Ä"])
def test_what_nobody_may_set(name):
    assert spec.name_problem(name) and secrets.name_problem(name) and settings.variable_problem(name, "x")


@pytest.mark.parametrize("name", BY_COMMIT_ONLY)
def test_what_only_a_commit_may_set(name):
    assert is_given(name) and not is_reserved(name) and spec.name_problem(name) is None
    assert secrets.name_problem(name) and settings.variable_problem(name, "x")


@pytest.mark.parametrize("name", ["A", "_a1", "x" * 128, "PORTS"])
def test_what_anybody_may_set(name):
    assert (
        spec.name_problem(name) is secrets.name_problem(name) is settings.variable_problem(name, "x") is None
    )


def test_a_value_is_measured_in_bytes():
    assert settings.variable_problem("A", "x" * LARGEST_VALUE) is None
    assert "64 KB" in str(settings.variable_problem("A", "π" * (LARGEST_VALUE // 2 + 1)))
    assert "64 KB" in str(secrets.value_problem("π" * (LARGEST_VALUE // 2 + 1)))
