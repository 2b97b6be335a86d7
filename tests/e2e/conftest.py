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


@pytest.fixture
def refused(homeport):
    """Run a command that must fail: its status, sentence and hint are told, and what served still serves."""

    def refused(*arguments, status, says, hint="", cwd=None, env=None, at=None):
        at = at or homeport
        before = at.env
        at.env = before | (env or {})
        try:
            done = at.run(*arguments, cwd=cwd, status=status)
        finally:
            at.env = before
        assert "error: cannot " in done.stderr, done.stderr
        assert says in done.stderr, done.stderr
        assert hint in done.stderr, done.stderr
        assert not hint or "hint: " in done.stderr or "\n  " in done.stderr, done.stderr
        return done

    return refused
