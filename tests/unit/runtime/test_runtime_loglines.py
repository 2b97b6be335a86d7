"""Lines of logs: as the daemon makes them and as a reader takes them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.kernel.ids import InstanceName
from homeport.runtime import logd
from homeport.runtime.loglines import merge, normal_time, parse, printable

A, B = InstanceName("a"), InstanceName("b")


def test_stamp() -> None:
    stamp = logd.Stamp()
    moment = datetime(2025, 3, 1, 23, 59, 59, 7000, tzinfo=UTC)
    ns = round(moment.timestamp()) * 10**9 + 7_000_000
    assert stamp(ns) == b"2025-03-01T23:59:59.007Z "
    assert stamp(ns + 10**9) == b"2025-03-02T00:00:00.007Z "


def test_stamped_line_is_parsed_back() -> None:
    assert parse(b"2025-03-01T23:59:59.007Z hello  world") == ("2025-03-01T23:59:59.007Z", "hello  world")
    assert parse(b"2025-03-01T23:59:59.007Z ") == ("2025-03-01T23:59:59.007Z", "")


@pytest.mark.parametrize(
    "raw", [b"", b"hello", b"2025-03-01T23:59:59.0", b"03-01T23:59:59.007Z tail of a line"]
)
def test_a_fragment_is_no_line(raw: bytes) -> None:
    assert parse(raw) is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\ttab", "plain\ttab"),
        (b"windows\r", "windows"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07x\x1b[2Jy\x1bcz", "xyz"),
        (b"bell\x07 nul\x00 cr\rover", "bell\\x07 nul\\x00 cr\\x0dover"),
        (b"\xff\xfe ok", "\ufffd\ufffd ok"),
        ("sep\u2028arated\x85".encode(), "sep arated\\x85"),
    ],
)
def test_printable(raw: bytes, text: str) -> None:
    assert printable(raw) == text


@given(st.binary())
def test_printable_never_breaks_a_line_or_moves_a_cursor(raw: bytes) -> None:
    text = printable(raw.replace(b"\n", b""))
    assert len(text.splitlines()) <= 1
    assert not any(ord(c) < 32 and c != "\t" for c in text)


@given(st.lists(st.binary(max_size=300)), st.integers(1, 64))
def test_lines_are_the_same_however_they_are_cut_into_reads(parts: list[bytes], limit: int) -> None:
    lines: list[bytes] = []
    rest = b""
    whole = b"".join(parts)
    for at in range(0, len(whole), limit):
        some, rest = logd.split_lines(rest + whole[at : at + limit])
        lines += some.split(b"\n") if some is not None else []
    assert lines == whole.split(b"\n")[:-1]
    assert rest == whole.split(b"\n")[-1]


@given(st.lists(st.integers(0, 3 * logd.READ_BYTES), max_size=4), st.integers(1, logd.READ_BYTES))
def test_a_long_line_is_split_and_nothing_of_it_lost(lengths: list[int], read: int) -> None:
    read = max(read, 1000)
    whole = b"\n".join(b"x" * n for n in lengths) + b"\n"
    lines: list[bytes] = []
    rest = b""
    for at in range(0, len(whole), read):
        some, rest = logd.split_lines(rest + whole[at : at + read])
        lines += some.split(b"\n") if some is not None else []
    assert all(len(line) <= logd.READ_BYTES for line in lines)
    assert b"".join(lines) == whole.replace(b"\n", b"")
    assert rest == b""


def test_logs_are_merged_by_time_and_ties_keep_together() -> None:
    a = [("1", A, "a1"), ("3", A, "a3"), ("3", A, "a4")]
    b = [("2", B, "b1"), ("3", B, "b3")]
    assert [text for _, _, text in merge([a, b], 10)] == ["a1", "b1", "a3", "a4", "b3"]
    assert [text for _, _, text in merge([a, b], 2)] == ["a4", "b3"]
    assert merge([a, b], 0) == []


@pytest.mark.parametrize(
    "since", ["2025-03-01T10:00:00Z", "2025-03-01T10:00:00+00:00", "2025-03-01 10:00:00"]
)
def test_a_time_compares_with_the_stamps(since: str) -> None:
    assert normal_time(since) == "2025-03-01T10:00:00"
    assert "2025-03-01T10:00:00.000Z" >= normal_time(since) > "2025-03-01T09:59:59.999Z"
