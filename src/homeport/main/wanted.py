"""What the edge should do by ``state.db`` alone, with no control plane running."""

from pathlib import Path

from homeport.edge.model import EdgeState
from homeport.journal.store import Store, open_engine
from homeport.kernel.clock import Clock
from homeport.main.settings import Settings
from homeport.rollout.parts import wanted_edge
from homeport.rollout.state import State


def edge_state(data_dir: Path, settings: Settings, clock: Clock) -> EdgeState:
    """Raises as opening ``state.db`` does."""
    engine = open_engine(data_dir / "state.db")
    try:
        return wanted_edge(State(Store(engine, clock)), settings.http, settings.https, data_dir)
    finally:
        engine.dispose()
