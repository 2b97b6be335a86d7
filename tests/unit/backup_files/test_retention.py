"""What retention keeps, whatever there is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.backup.retention import Backup, Kind, Selection, select
from homeport.spec.model_backup import Keep

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)


def files(hours: float, *, proven: bool = False, broken: bool = False) -> Backup:
    return Backup(f"f{hours:g}", NOW - hours * HOUR, Kind.FILES, proven, broken)


def full(hours: float, **more: bool) -> Backup:
    return Backup(f"p{hours:g}", NOW - hours * HOUR, Kind.FULL, **more)


def incremental(hours: float, *needs: str, **more: bool) -> Backup:
    return Backup(f"p{hours:g}", NOW - hours * HOUR, Kind.INCREMENTAL, needs=needs, **more)


def kept(selection: Selection) -> dict[str, tuple[str, ...]]:
    return {k.backup.id: k.reasons for k in selection.keep}


def choose(*backups: Backup, keep: Keep | None = None, window: timedelta = WEEK) -> Selection:
    return select(backups, keep or Keep(), NOW, window=window)


def test_two_years_by_default() -> None:
    """An hourly backup for two days, a daily one for two years."""
    found = choose(*(files(n) for n in range(48)), *(files(24 * n + 0.25) for n in range(2, 730)))
    by_reason = {name: sum(name in r for r in kept(found).values()) for name in vars_of_keep()}
    assert by_reason == {"hourly": 24, "daily": 30, "weekly": 12, "monthly": 12}
    assert len(found.keep) + len(found.drop) == 48 + 728
    assert 60 < len(found.keep) < 75


def vars_of_keep() -> tuple[str, ...]:
    return ("hourly", "daily", "weekly", "monthly")


def test_the_newest_proven_one_outlives_every_number() -> None:
    found = choose(*(files(n) for n in range(30)), files(5000, proven=True), keep=Keep(1, 0, 0, 0))
    assert set(kept(found)) == {"f0", "f5000"}
    assert "the newest that is proven" in kept(found)["f5000"]


def test_a_proven_one_stands_for_its_day_rather_than_a_newer_one() -> None:
    found = choose(files(1), files(2), files(3, proven=True), files(4), keep=Keep(0, 1, 0, 0))
    assert set(kept(found)) == {"f1", "f3"}


def test_a_broken_one_stands_for_nothing_and_goes_once_a_newer_is_proven() -> None:
    broken, older = files(1, broken=True), files(2)
    before = choose(broken, older, keep=Keep(1, 1, 0, 0))
    assert kept(before)["f1"] == ("cannot be restored, and none is proven since",)
    assert "hourly" in kept(before)["f2"]
    after = choose(files(0, proven=True), broken, older)
    assert [(b.id, why) for b, why in after.drop] == [("f1", "its proof failed")]


def test_what_an_incremental_needs_stays_and_its_chain_goes_as_a_whole() -> None:
    chain = (full(500), incremental(499, "p500"), incremental(498, "p499"), full(2, proven=True))
    found = choose(*chain, incremental(1, "p2"), keep=Keep(1, 0, 0, 0), window=HOUR)
    assert kept(found)["p2"][-1] == "needed by p1"
    assert [b.id for b, _ in found.drop] == ["p498", "p499", "p500"]


def test_an_incremental_whose_full_is_missing_stands_for_nothing() -> None:
    found = choose(incremental(1, "gone"), full(3, proven=True), keep=Keep(1, 0, 0, 0), window=HOUR)
    assert "hourly" in kept(found)["p3"]


def test_point_in_time_recovery_keeps_the_base_before_the_window() -> None:
    found = choose(full(1, proven=True), full(100), full(170), full(300), keep=Keep(1, 0, 0, 0))
    assert kept(found) == {
        "p1": ("the newest", "the newest that is proven", "hourly"),
        "p170": ("point-in-time recovery",),
    }
    assert found.base is not None and found.base.id == "p170"


def test_where_the_base_is_not_proven_the_proven_one_before_it_stays_too() -> None:
    found = choose(full(1, proven=True), full(170), full(300, proven=True), full(400), keep=Keep(1, 0, 0, 0))
    assert set(kept(found)) == {"p1", "p170", "p300"}
    assert found.base is not None and found.base.id == "p300"


def test_where_nothing_is_as_old_as_the_window_the_oldest_is_the_base() -> None:
    found = choose(full(1, proven=True), full(50), keep=Keep(1, 0, 0, 0))
    assert found.base is not None and found.base.id == "p50"
    assert choose(files(1), files(500)).base is None


def test_a_clock_that_jumped_ahead_takes_nothing_away() -> None:
    there = [files(n) for n in range(3)]
    future = files(-5000, proven=True)
    found = choose(*there, future, keep=Keep(3, 0, 0, 0))
    assert set(kept(found)) == {"f0", "f1", "f2", "f-5000"}


def test_weeks_begin_on_monday_in_utc_across_the_year() -> None:
    monday = datetime(2026, 12, 28, tzinfo=UTC)
    week = [Backup(f"d{n}", monday + timedelta(days=n), Kind.FILES) for n in range(7)]
    found = select(week, Keep(0, 0, 9, 0), monday + timedelta(days=10), window=WEEK)
    assert list(kept(found)) == ["d6"]


def test_a_time_of_another_zone_counts_by_its_hour_of_utc() -> None:
    east = Backup("east", NOW.astimezone().replace(microsecond=1), Kind.FILES)
    found = choose(Backup("utc", NOW, Kind.FILES), Backup("e", east.at - HOUR, Kind.FILES))
    assert [k.backup.id for k in found.keep] == ["utc", "e"]


@pytest.mark.parametrize("wrong", [[files(1), files(1)], [Backup("x", datetime(2026, 1, 1), Kind.FILES)]])
def test_what_cannot_be_judged_is_refused(wrong: list[Backup]) -> None:
    with pytest.raises(ValueError):
        choose(*wrong)


@st.composite
def series(draw: st.DrawFn) -> list[Backup]:
    physical = draw(st.booleans())
    found: list[Backup] = []
    for n, hours in enumerate(draw(st.lists(st.floats(-300, 20_000), max_size=40))):
        kinds = (Kind.FULL, Kind.INCREMENTAL) if physical else (Kind.FILES,)
        kind = draw(st.sampled_from(kinds))
        needs = ()
        if kind is Kind.INCREMENTAL:
            needs = (draw(st.sampled_from([*(b.id for b in found), "gone"])),)
        state = draw(st.sampled_from(["", "", "proven", "broken"]))
        at = NOW - hours * HOUR
        found.append(Backup(str(n), at, kind, state == "proven", state == "broken", needs))
    return found


@given(series(), st.builds(Keep, *[st.integers(0, 5)] * 4), st.floats(0, 5000))
@settings(max_examples=200, deadline=None)
def test_what_holds_whatever_there_is(backups: list[Backup], keep: Keep, hours: float) -> None:
    window = hours * HOUR
    found = select(backups, keep, NOW, window=window)
    ids = set(kept(found))
    by_id = {b.id: b for b in backups}
    assert sorted([*ids, *(b.id for b, _ in found.drop)]) == sorted(by_id)
    # Whatever is kept can still be restored if it could be before.
    assert all(need in ids for i in ids for need in by_id[i].needs if need in by_id)
    # What needs another goes before it.
    order = [b.id for b, _ in found.drop]
    assert all(order.index(need) > order.index(i) for i in order for need in by_id[i].needs if need in order)

    def usable(b: Backup) -> bool:
        if b.broken or b.at > NOW:
            return False
        return all(n in by_id and not by_id[n].broken and whole(by_id[n]) for n in b.needs)

    def whole(b: Backup) -> bool:
        return all(n in by_id and not by_id[n].broken and whole(by_id[n]) for n in b.needs)

    proven = [b for b in backups if b.proven and usable(b)]
    if proven:
        assert max(proven, key=lambda b: (b.at, b.id)).id in ids
    bases = [b for b in backups if b.kind.is_physical and usable(b)]
    before = [b for b in bases if b.at <= NOW - window]
    if bases:
        base = max(before, key=lambda b: (b.at, b.id)) if before else min(bases, key=lambda b: (b.at, b.id))
        assert base.id in ids
        assert found.base is not None and found.base.at <= base.at
    # Choosing again among what was kept takes nothing more.
    again = select([by_id[i] for i in ids], keep, NOW, window=window)
    assert {b.id for b, _ in again.drop} == set()
