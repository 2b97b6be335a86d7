"""What stands between an instance's pipe and its log, without processes."""

import importlib
import sys

import pytest

from homeport.kernel.masking import REPLACEMENT
from homeport.runtime.jobs import rounds
from homeport.runtime.logd import READ_BYTES, split_lines
from homeport.runtime.masks import OPEN_SECONDS, Masks, Secrets, Withheld, sealed_in

WHY = "cannot open /x/secrets.key: there is no such file"
START = b"homeport: cannot start a.b.r1.web.1: " + WHY.encode()


@pytest.fixture
def secrets() -> Secrets:
    masks = Masks()
    masks.learn({"t1": "first-value-1", "t2": "second-value-2"})
    return masks.secrets("a.b.r1.web.1")


def document(*tokens: str) -> bytes:
    inner = ", ".join(f'"S{n}": "{token}"' for n, token in enumerate(tokens))
    return b'{"secrets": {%s}, "key": "/nowhere"}' % inner.encode()


def test_known_tokens_are_masked_without_opening_anything(secrets: Secrets) -> None:
    secrets.follow("/nowhere", document("t1"), -1, 0)
    assert secrets.opening is None
    assert secrets.feed(b"a first-value-1 second-value-2\n") == b"a " + REPLACEMENT + b" second-value-2\n"


def test_values_of_the_document_before_stay_masked(secrets: Secrets) -> None:
    secrets.follow("/nowhere", document("t1"), -1, 0)
    assert secrets.feed(b"first-va") == b""
    secrets.follow("/nowhere", document("t2"), -1, 0)
    assert secrets.feed(b"\nfirst-value-1 second-value-2\n") == REPLACEMENT + b"\n[secret] [secret]\n"
    assert secrets.feed(b"first-va") == b""
    secrets.follow("/nowhere", document("t1"), -1, 0)  # nothing new: what is held back is not let go
    assert secrets.feed(b"lue-1\n") == REPLACEMENT + b"\n"


def test_withheld_output_is_counted_and_told_of_once(secrets: Secrets) -> None:
    secrets.follow("/nowhere", document("t1"), -1, 0)
    assert secrets.feed(b"begun:") == b"begun:"
    secrets.withhold(WHY, 0)
    assert not secrets.is_due(9)
    assert secrets.is_due(10)
    told = b"\nhomeport: output is withheld because its secrets cannot be opened: " + WHY.encode() + b"\n"
    assert secrets.feed(b"first-value-1\nmore\n") == told
    secrets.withhold(WHY, 10)
    assert secrets.feed(START + b"\n" + START + b" first-value-1\nhalf") == START + b"\n"
    assert secrets.flush() == b""
    secrets.follow("/nowhere", document("t1"), -1, 20)
    assert not secrets.is_due(1e9)
    assert (
        secrets.feed(b" first-value-1\n") == b"homeport: 4 lines were withheld here\n " + REPLACEMENT + b"\n"
    )


def test_the_launchers_words_pass_however_they_are_cut() -> None:
    for at in range(len(START) + 1):
        withheld = Withheld("a.b.r1.web.1", WHY)
        assert withheld.feed(START[:at]) + withheld.feed(START[at:] + b"\n") == START + b"\n"
        assert withheld.feed(b"x" + START[:at]) + withheld.feed(START[at:] + b"\n") == b""
        assert withheld.feed(START + b"x" * at) + withheld.feed(b"y\n") == b""
        assert withheld.told() == b"homeport: 2 lines were withheld here\n"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"secrets": 1}'])
def test_what_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        sealed_in(text)


@pytest.mark.parametrize(
    "size", [READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES, 5 * READ_BYTES + 7]
)
@pytest.mark.parametrize("around", [(b"", b""), (b"a\nb\n", b"\nc"), (b"a" * 10, b"\n" * 5)])
def test_long_lines_are_split_and_nothing_is_lost(size: int, around: tuple[bytes, bytes]) -> None:
    data = around[0] + b"x" * size + around[1]
    lines, rest = split_lines(data)
    whole = rest if lines is None else lines + b"\n" + rest
    assert whole.replace(b"\n", b"") == data.replace(b"\n", b"")
    assert max(map(len, whole.split(b"\n"))) <= READ_BYTES
    assert (
        whole.count(b"\n") - data.count(b"\n")
        == (size + len(around[0].rpartition(b"\n")[2]) - 1) // READ_BYTES
    )


def test_a_run_keeps_its_output_for_longer_than_its_secrets_may_take_to_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    runner = importlib.import_module("homeport.runtime.jobs.runner")
    assert runner.DRAIN_SECONDS > OPEN_SECONDS
    assert rounds.LAST_WORDS > OPEN_SECONDS
