"""The data directories that these tests run in."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "integration" / "runtime" / "supervised_home.py"
if "supervised_home" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("supervised_home", FILE)
    assert _spec is not None and _spec.loader is not None
    sys.modules["supervised_home"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["supervised_home"])


@pytest.fixture
def bare_home() -> Iterator[Any]:
    """Without a supervisord as yet."""
    from supervised_home import Home

    home = Home()
    try:
        yield home
    finally:
        home.end()


@pytest.fixture
def home(bare_home: Any) -> Any:
    bare_home.supervise()
    return bare_home
