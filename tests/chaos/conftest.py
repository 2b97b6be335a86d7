import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import Homeport


@pytest.fixture(scope="module")
def homeport():
    """A Homeport that the tests of one file share."""
    running = Homeport()
    try:
        running.up()
        yield running
    finally:
        running.close()


@pytest.fixture
def fresh_homeport():
    """A Homeport of a test's own, not started."""
    running = Homeport()
    try:
        yield running
    finally:
        running.close()
