"""The folder sets the marker and the time limit."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "support"))
LIMITS = {"unit": 60, "contract": 120, "integration": 300, "e2e": 480, "chaos": 600}
"""Seconds after which a hanging test is ended: the style's limits, with room for a busy machine."""

# How long an example takes says more of the machine than of the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in LIMITS:
            item.add_marker(getattr(pytest.mark, tier))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIMITS[tier]))
