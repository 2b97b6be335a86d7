"""Which port an instance gets."""

from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.runtime.ports import PORTS, choose, start_of

RANGE = range(100, 110)


def test_the_first_free_port_from_the_start_on() -> None:
    assert choose(set(), lambda p: True, 105, RANGE) == 105


def test_taken_ports_and_strangers_are_skipped() -> None:
    assert choose({105}, lambda p: p != 106, 105, RANGE) == 107


def test_it_goes_around_the_end_of_the_range() -> None:
    assert choose({108, 109}, lambda p: True, 108, RANGE) == 100


def test_a_start_outside_the_range_still_gives_a_port_within() -> None:
    assert choose(set(), lambda p: True, 12345, RANGE) in RANGE


def test_every_port_is_tried_before_it_gives_up() -> None:
    assert choose(set(RANGE) - {104}, lambda p: True, 105, RANGE) == 104
    with pytest.raises(HomeportError) as e:
        choose(set(RANGE), lambda p: True, 105, RANGE)
    assert e.value.code == "runtime.no_port"
    assert "100 to 109" in e.value.sentence


def test_data_directories_begin_in_different_places() -> None:
    starts = {start_of(Path(f"/srv/{n}")) for n in range(50)}
    assert len(starts) > 45
    assert all(s in PORTS for s in starts)
    assert start_of(Path("/srv/1")) == start_of(Path("/srv/1"))
