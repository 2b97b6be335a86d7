"""How long programs wait for what they moved too early."""

import pytest

from homeport.backup.files.model import Limits
from homeport.backup.port import Rates, least, slowest
from homeport.spec.model_backup import PROOF_RATE, Backup
from homeport.system.pacer import BURST, Credit

RATE = 1000


def test_what_comes_within_the_rate_waits_for_nothing() -> None:
    credit = Credit(RATE)
    assert [credit.after(0.1, 100) for _ in range(100)] == [0.0] * 100


def test_over_a_long_time_no_more_goes_than_the_rate_gives_and_one_burst() -> None:
    credit, seconds, moved = Credit(RATE), 0.0, 0
    wait = 0.0
    for _ in range(50):
        wait = credit.after(wait + 0.1, 700)
        seconds, moved = seconds + wait + 0.1, moved + 700
    assert moved <= RATE * (seconds + BURST) + 1
    assert moved == pytest.approx(RATE * seconds, rel=0.02)


def test_who_was_idle_has_one_burst_and_no_more() -> None:
    credit = Credit(RATE)
    assert credit.after(3600.0, int(RATE * BURST)) == 0.0
    assert credit.after(0.0, RATE) == pytest.approx(1.0)


def test_a_time_limit_grows_with_what_a_rate_makes_of_the_size() -> None:
    size = 100 * 1024 * 1024
    assert Limits(rate=1024).long(size) >= Limits().long(size) + size / (1024 * 1024)


def test_of_several_the_lowest_rate_holds_and_unlimited_only_where_all_say_so() -> None:
    assert slowest(()) == Rates(None, PROOF_RATE)
    assert slowest([Backup(rate=7, proof_rate=None), Backup(rate=5)]) == Rates(5, PROOF_RATE)
    assert slowest([Backup(proof_rate=None), Backup(proof_rate=None)]) == Rates(None, None)
    assert least([None, 3.0, 2.0]) == 2.0 and least([]) is None
