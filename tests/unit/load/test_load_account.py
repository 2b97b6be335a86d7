"""What the load generator counts and how it compares orders."""

import pytest
from load import Mix, compare_orders
from load_counters import KEPT_FAILURES, Counters, Latencies


def test_percentiles_are_at_most_one_bucket_too_high() -> None:
    found = Latencies()
    for ms in range(1, 1001):
        found.add(ms / 1000)
    for share, wanted in ((0.5, 0.5), (0.95, 0.95), (0.99, 0.99)):
        assert wanted <= found.percentile(share) <= wanted * 1.016
    assert found.max == 1.0
    assert found.percentile(1.0) == 1.0


def test_percentiles_of_nothing_and_of_zero() -> None:
    found = Latencies()
    assert found.summary() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    found.add(0.0)
    assert found.percentile(0.5) == 0.0


def test_only_the_first_failures_are_kept_in_words_but_all_are_counted() -> None:
    counters = Counters()
    for n in range(KEPT_FAILURES + 5):
        counters.fail("get", f"problem {n}", 0.0)
    found = counters.snapshot()
    assert found["failed"] == KEPT_FAILURES + 5
    assert [f["what"] for f in found["failures"]] == [f"problem {n}" for n in range(KEPT_FAILURES)]


def test_a_snapshot_has_each_kind_that_was_sent() -> None:
    counters = Counters()
    counters.sent["get"] += 3
    counters.ok["get"] += 2
    counters.answered(200, "r1")
    counters.answered(200, "r2")
    counters.answered(503, "")
    found = counters.snapshot()
    assert found["by_kind"].keys() == {"get"}
    assert (found["sent"], found["ok"], found["failed"]) == (3, 2, 0)
    assert found["statuses"] == {"200": 2, "503": 1}
    assert found["releases"] == {"r1": 1, "r2": 1}
    assert found["release_times"]["r1"][0] == found["release_times"]["r1"][1]


@pytest.mark.parametrize(
    ("acknowledged", "unacknowledged", "stored", "wanted"),
    [
        ("ab", "", "ab", ("", "", "")),
        ("ab", "", "a", ("b", "", "")),
        ("ab", "", "abb", ("", "b", "")),
        ("a", "c", "a", ("", "", "")),
        ("a", "c", "ac", ("", "", "c")),
        ("a", "c", "acc", ("", "c", "c")),
        ("a", "", "axx", ("", "", "")),
    ],
)
def test_orders_lost_doubled_and_late(
    acknowledged: str, unacknowledged: str, stored: str, wanted: tuple[str, str, str]
) -> None:
    found = compare_orders(acknowledged, unacknowledged, stored)
    assert ("".join(found["lost"]), "".join(found["doubled"]), "".join(found["late"])) == wanted


def test_the_default_mix_has_every_kind() -> None:
    mix = Mix()
    assert min(mix.gets, mix.posts, mix.slows, mix.pipelines, mix.websockets, mix.streams) > 0
