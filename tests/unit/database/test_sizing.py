"""How large clusters and pools are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.database.sizing import GB, MB, RESERVED, TooManyAsked, Wanted, share_out, sizes


@pytest.mark.parametrize(
    ("memory", "cores", "clusters", "connections", "buffers", "work_mem", "maintenance"),
    [
        (512 * MB, 1, 1, 40, 64 * MB, 192 * MB // 80, 16 * MB),
        (1 * GB, 1, 1, 64, 128 * MB, 3 * MB, 32 * MB),
        (4 * GB, 2, 1, 200, 512 * MB, 1536 * MB // 400, 128 * MB),
        (4 * GB, 2, 4, 64, 128 * MB, 3 * MB, 32 * MB),
        (64 * GB, 16, 1, 200, 8 * GB, 24 * GB // 400, 1 * GB),
        (512 * GB, 64, 1, 200, 8 * GB, 64 * MB, 1 * GB),
        (256 * MB, 1, 8, 40, 32 * MB, 1 * MB, 16 * MB),
    ],
)
def test_by_machine(memory, cores, clusters, connections, buffers, work_mem, maintenance):
    found = sizes(memory, cores, clusters)
    assert (found.max_connections, found.shared_buffers) == (connections, buffers)
    assert (found.work_mem, found.maintenance_work_mem) == (work_mem, maintenance)


@given(st.integers(256 * MB, 1024 * GB), st.integers(1, 256), st.integers(0, 50))
def test_settings_are_what_postgresql_takes(memory, cores, clusters):
    found = sizes(memory, cores, clusters)
    settings = found.settings()
    assert found.for_apps > 0 and found.max_connections > RESERVED
    assert int(settings["min_wal_size"][:-2]) >= 32 * 1024
    assert 2 * int(settings["min_wal_size"][:-2]) <= int(settings["max_wal_size"][:-2])
    assert all(value.removesuffix("kB").isdigit() for value in settings.values())


@given(st.integers(512 * MB, 1024 * GB), st.integers(1, 8))
def test_what_is_always_taken_fits_into_the_share(memory, clusters):
    found = sizes(memory, 2, clusters)
    if memory // 2 // clusters >= 128 * MB:
        assert found.shared_buffers <= memory // 2 // clusters


def test_pools_by_rule():
    wanted = [Wanted("one", 1), Wanted("two", 2), Wanted("many", 40), Wanted("said", 9, 3)]
    assert share_out(wanted, 190) == {"one": 5, "two": 8, "many": 20, "said": 3}


def test_pools_shrink_when_there_are_too_few():
    wanted = [Wanted(f"d{n}", 5) for n in range(10)]
    found = share_out(wanted, 30)
    assert sum(found.values()) <= 30 and set(found.values()) == {3}


def test_what_was_asked_for_by_number_is_kept_or_refused():
    assert share_out([Wanted("a", 1, 20), Wanted("b", 5)], 30) == {"a": 20, "b": 10}
    with pytest.raises(TooManyAsked) as e:
        share_out([Wanted("a", 1, 29), Wanted("b", 5)], 30)
    assert (e.value.asked, e.value.there) == (31, 30)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.none() | st.integers(1, 50)), max_size=30),
    st.integers(10, 200),
)
def test_pools_never_pass_what_there_is(asked, there):
    wanted = [Wanted(str(n), replicas, connections) for n, (replicas, connections) in enumerate(asked)]
    try:
        found = share_out(wanted, there)
    except TooManyAsked:
        return
    assert sum(found.values()) <= there and all(size >= 1 for size in found.values())
    assert len(found) == len(wanted)
