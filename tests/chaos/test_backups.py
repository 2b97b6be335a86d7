"""A short seed of bench/chaos_backups.py: kills within backups, proofs, restores and drills."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from chaos_backups import BackupChaos, all_problems

SEED = 5
ROUNDS = [
    ("proof", "prove cluster main in local", "child"),
    ("restore", "switch to it", "both"),
    ("cluster", "put it in the cluster's place", "serve"),
    ("backup", "back up cluster main", "both"),
]
"""Steps in which most is half made. Drills and clones are killed by their own tests, files cut off by theirs."""


@pytest.fixture(scope="module")
def chaos():
    made = BackupChaos(SEED)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(("kind", "step", "victim"), ROUNDS)
def test_a_kill_in_the_middle_leaves_nothing_half_made(chaos, kind, step, victim):
    assert all_problems(chaos.play([(kind, step, victim)])) == []


def test_nothing_is_wrong_after_the_backup_that_came_last(chaos):
    assert chaos.wrong() == []
