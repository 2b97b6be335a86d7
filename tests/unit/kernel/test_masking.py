"""Whatever is printed of a value, and however it is cut, nothing of it comes out."""

import base64
import json
import shlex
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from homeport.kernel import masking
from homeport.kernel.masking import MIN_LENGTH, REPLACEMENT, Masker, Stream

VALUE = "s3cr3t/Value+with 'quotes\" & ünï\\=\t0123456789"
RAW = VALUE.encode()
PEM = (
    "-----BEGIN KEY-----\n"
    + "\n".join(f"MIIEvQIBADANBgkqhkiG9w0BAQ{n}" for n in range(9))
    + "\n-----END-----\n"
)

characters = st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00")
values = st.one_of(
    st.text(characters, min_size=MIN_LENGTH, max_size=40),
    st.text("ab", min_size=MIN_LENGTH, max_size=12),
    st.text("ab\n", min_size=MIN_LENGTH, max_size=40),
    st.text(string.ascii_letters + string.digits, min_size=8, max_size=40),
    st.text(string.ascii_letters, min_size=1, max_size=6).map(lambda t: t * (1000 // len(t))),
).filter(lambda v: len(v.strip("\r\n")) >= MIN_LENGTH)


def spellings(value: str) -> list[bytes]:
    """Written apart from the masker, with the library's encoders."""
    value = value.strip("\r\n")
    raw = value.encode()
    texts = [value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]]
    texts += [quote(value), quote(value, safe=""), quote_plus(value), raw.hex(), raw.hex().upper()]
    texts += [shlex.quote(value), str(raw)[2:-1], ascii(value)[1:-1], "'" + value.replace("'", "'\\''") + "'"]
    return [text.encode() for text in texts]


def encoded(value: str, before: int, after: bytes, *, urlsafe: bool) -> tuple[bytes, bytes]:
    """(base64 of a text that holds the value, the part of it that depends on the value alone)"""
    raw = value.strip("\r\n").encode()
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    one, other = (encode(fill * before + raw + end) for fill, end in ((b"\x00", b"\x00"), (b"\xff", b"\xff")))
    same = [n for n in range(min(len(one), len(other))) if one[n] == other[n] != ord("=")]
    whole = encode(b"x" * before + raw + after)
    return whole, whole[same[0] : same[-1] + 1]


def stream(masker: Masker, chunks: list[bytes]) -> bytes:
    s = Stream(masker)
    return b"".join([*map(s.feed, chunks), s.flush()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def without_marks(masked: bytes) -> bytes:
    """So that a value that is part of the mark, or goes on from it, is not taken for a find."""
    return masked.replace(REPLACEMENT, b"\x00")


pieces = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 20), st.integers(0, 30)),
        st.binary(max_size=8),
        st.sampled_from([b"\n", b" "]),
    ),
    max_size=8,
)


@given(st.lists(values, min_size=1, max_size=4), pieces, st.lists(st.integers(0, 100_000), max_size=6))
def test_no_spelling_of_a_value_comes_out_however_it_is_cut(
    secrets: list[str], layout: list[tuple[int, int] | bytes], places: list[int]
) -> None:
    data = b""
    for piece in layout:
        if isinstance(piece, bytes):
            data += piece.replace(b"\x00", b"")
        else:
            spelled = spellings(secrets[piece[0] % len(secrets)])
            data += spelled[piece[1] % len(spelled)]
    masker = Masker(secrets)
    masked = stream(masker, cut(data, places))
    assert masked == stream(masker, [data])
    for secret in secrets:
        for spelling in spellings(secret):
            assert spelling not in without_marks(masked)
            assert spelling not in without_marks(masker.mask(data))


@given(
    values.filter(lambda v: len(v.encode()) >= 6),
    st.integers(0, 90),
    st.binary(max_size=90),
    st.booleans(),
    st.sampled_from([0, 64, 76]),
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.integers(0, 100_000), max_size=6),
)
@example("0" * 30, 46, b"", False, 76, b"\r\n", [77])
@example("0123456789abcdefghijklmn", 46, b"", False, 64, b"\n", [65, 66])
@example("0123456789abcdefghijklmn", 47, b"", False, 64, b"\r\n", [64, 65, 66])
def test_base64_at_all_alignments_in_one_line_or_several(
    value: str, before: int, after: bytes, urlsafe: bool, columns: int, newline: bytes, places: list[int]
) -> None:
    whole, part = encoded(value, before, after, urlsafe=urlsafe)
    if columns:
        whole = newline.join(whole[n : n + columns] for n in range(0, len(whole), columns))
    masker = Masker([value])
    masked = stream(masker, cut(whole, places))
    assert masked == stream(masker, [whole])
    joined = without_marks(masked).replace(b"\r", b"").replace(b"\n", b"")
    if not columns:
        assert part not in joined
    elif len(part) >= 12:
        # Of a part that a line's end cuts off, up to three characters may stay.
        assert part[3:] not in joined
        assert REPLACEMENT in masked


words = st.sampled_from(["GET", "/api/v1/users", "200", "12ms", "ERROR", "ünï", "\n", "zz", "eyJ", "=="])


@given(
    st.lists(st.text("0123456789ABCDEFGHJK", min_size=12, max_size=40), min_size=1, max_size=3),
    st.lists(words),
)
def test_a_text_without_values_is_unchanged(secrets: list[str], text: list[str]) -> None:
    data = " ".join(text).encode()
    masker = Masker(secrets)
    assert masker.mask(data) == data
    assert stream(masker, [data]) == data
    assert stream(masker, [bytes((byte,)) for byte in data]) == data
    assert masker.mask_text(data.decode()) == data.decode()


@given(st.lists(values, max_size=3), st.binary(max_size=200))
def test_garbage_without_values_is_unchanged(secrets: list[str], data: bytes) -> None:
    masker = Masker(secrets)
    assume(not masker.spans(data))
    assert masker.mask(data) == data


@given(values, st.lists(st.tuples(st.binary(max_size=6), st.integers(1, 80), st.booleans()), max_size=5))
def test_halves_that_are_flushed_apart_do_not_come_out(
    value: str, layout: list[tuple[bytes, int, bool]]
) -> None:
    s = Stream(Masker([value]))
    raw = value.strip("\r\n").encode()
    out = b""
    for noise, at, flushes in layout:
        out += s.feed(noise.replace(b"\x00", b"") + raw[:at])
        if flushes:
            shown = s.flush()
            assert len(shown) < MIN_LENGTH or raw[:at] not in shown
            out += shown
        out += s.feed(raw[at:])
    assert raw not in without_marks(out + s.flush())


def test_halves_are_masked_once_and_what_follows_is_kept() -> None:
    s = Stream(Masker([VALUE]))
    assert s.feed(b"a " + RAW[:10]) == b"a "
    assert s.flush() == REPLACEMENT
    assert s.flush() == b""
    assert s.feed(RAW[10:20]) == b""
    assert s.flush() == b""
    assert s.feed(RAW[20:] + b" b") == b" b"
    assert s.feed(b"a " + RAW[:10]) == b"a "
    assert s.flush() == REPLACEMENT
    assert s.feed(b"other") == b"other"


def test_a_beginning_too_short_to_be_masked_is_shown_and_the_rest_is_not() -> None:
    s = Stream(Masker(["0123456789abcdef"]))
    assert s.feed(b"x 012") == b"x "
    assert s.flush() == b"012"
    assert s.feed(b"3456789abcdef !") == REPLACEMENT + b" !"


def test_the_line_end_after_a_masked_beginning_is_kept() -> None:
    s = Stream(Masker([PEM]))
    assert s.feed(b"-----BEGIN KEY-----\n") + s.flush() == REPLACEMENT + b"\n"
    assert s.feed(b"other") == b"other"


@pytest.mark.parametrize(
    ("values_", "text", "masked"),
    [
        (["abcd"], "xabcdx", "x[secret]x"),
        (["abcd", "abcdefgh"], "abcdefgh abcd", "[secret] [secret]"),
        (["abcdef", "defghi"], "abcdefghi", "[secret]"),
        (["cdef", "abcdefgh"], "xx abcdefgh", "xx [secret]"),
        (["abcabc"], "abcabcabc", "[secret]"),
        (["aaaa"], "aaaaaaaaaab", "[secret]b"),
        (["abcd"], "abcdabcd", "[secret][secret]"),
        (["abc"], "abc", "abc"),
        (["abc\n"], "abc\n", "abc\n"),
        (["abcd\n"], "abcd", "[secret]"),
        ([], "abcd", "abcd"),
        (["ab cd"], "ab%20cd ab+cd ab%2520cd", "[secret] [secret] ab%2520cd"),
        (["k=ü/?"], "k%3d%c3%bc%2f%3f k%3D%C3%BC/%3F k=\\u00fc/? k=\\u00FC/? k=ü\\/?", None),
        (["a<b&c"], '"a<b&c" "a\\u003cb\\u0026c" a%3Cb%26c', None),
        (['it\'s\n"so"'], "'it'\\''s\n\"so\"' 'it'\"'\"'s\n\"so\"' it's\\n\\\"so\\\"", None),
    ],
)
def test_what_is_masked(values_: list[str], text: str, masked: str | None) -> None:
    masker = Masker(values_)
    if masked is not None:
        assert masker.mask_text(text) == masked
        assert stream(masker, [text.encode()]).decode() == masked
        assert stream(masker, [bytes((b,)) for b in text.encode()]).decode() == masked
    else:
        assert masker.mask_text(text).count("[secret]") >= 3
    assert bool(masker) == any(len(v.strip("\n")) >= MIN_LENGTH for v in values_)


def test_a_key_of_several_lines_is_masked_line_by_line_too() -> None:
    masker = Masker([PEM])
    assert masker.mask(f"a\n{PEM}b".encode()) == b"a\n" + REPLACEMENT + b"\nb"
    for line in PEM.splitlines():
        assert masker.mask(f"  | {line} |".encode()) == b"  | " + REPLACEMENT + b" |"
    assert masker.mask(json.dumps({"key": PEM}).encode()) == b'{"key": "[secret]\\n"}'
    short = Masker(["one\ntwo two\nthree"])
    assert short.mask(b"one two two three") == b"one [secret] three"


@pytest.mark.parametrize("size", [500, 5_000, 65_536])
def test_a_long_value_is_found_in_every_spelling_and_by_halves(size: int) -> None:
    value = "".join(f"{n * 7919 % 1_000_003:06d}/ü " for n in range(size // 9))
    raw = value.strip().encode()
    masker = Masker([value.strip()])
    for spelling in (*spellings(value.strip()), base64.b64encode(b"x" + raw + b"y")[2:-3]):
        masked = stream(masker, [b"<", spelling[:1000], spelling[1000:], b">"])
        assert len(masked) < 40, masked[:100]
    half = masker.mask(raw[: len(raw) // 2] if size > 500 else raw)
    assert len(half) < masking._PIECE + len(raw) // masking._PIECES * 2


def test_a_value_of_a_megabyte_does_no_harm() -> None:
    value = "".join(f"{n * 7919 % 1_000_003:06d}/" for n in range(150_000))
    s = Stream(Masker([value]))
    assert s.feed(b"<" + value.encode()) + s.feed(b"\n>") == b"<" + REPLACEMENT + b"\n>"
    assert s.feed(b" " * 100_000) == b" " * 100_000


def test_text_with_bytes_that_are_no_text() -> None:
    text = b"\xff abcd \xfe".decode("utf-8", "surrogateescape")
    assert Masker(["abcd"]).mask_text(text) == "\udcff [secret] \udcfe"
    assert Masker(["ab\ud800cd", "a\udcffbc"]).mask(b"a\xffbc") == REPLACEMENT


def test_breaks_that_no_encoder_makes_are_not_followed() -> None:
    encoded_ = base64.b64encode(b"0123456789abcdefghijklmnopqrstuvwxyz")
    masker = Masker(["0123456789abcdefghijklmnopqrstuvwxyz"])
    for text in (
        b"\n\n".join((encoded_[:20], encoded_[20:])),
        b"\n".join(encoded_[n : n + 8] for n in range(0, 48, 8)),
    ):
        assert masker.mask(text) == text
        assert stream(masker, cut(text, [10, 21, 22])) == text
