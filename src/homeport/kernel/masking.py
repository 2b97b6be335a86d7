"""Secrets' values taken out of what is printed, in whatever common spelling they stand there.

Imports only the standard library, and nothing of Homeport's: the log daemon loads this file by its path.

What is masked of each value, wherever it stands, also inside a longer word or text:

- the value itself, and each line of :data:`MIN_LINE` or more characters of a value of several lines;
- base64 and URL-safe base64 of any longer text that holds the value: those characters that depend on
  nothing but the value, also where such a text is broken into lines of 32 or more;
- percent-encoded, escaped as in JSON, as in Python's ``repr`` and as within a shell's single quotes, hex.

What two encodings on top of each other make of a value is not found, nor is a value with other text
between its parts.

How it is fast: every spelling of a group is at least ``m`` bytes long, so an occurrence covers one of
the samples of ``w`` bytes taken from the data at each ``m - w + 1`` bytes. Samples are compared with the
spellings' own beginnings as one set operation; only spellings with a sample in the data are searched for.
"""

import binascii
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from struct import Struct

MIN_LENGTH = 4
"""Characters. A shorter value is not masked: it would stand in all kinds of innocent words."""
MIN_LINE = 6
REPLACEMENT = b"[secret]"

_PIECE = 384
"""Characters. A longer value is looked for in pieces, so that half of it is found as well and little
has to be held back."""
_PIECES = 256
_OVERLAP = 4
"""Characters that two pieces share: their spellings then overlap too, in every encoding."""
_WRAP_MIN = 12
"""Bytes: base64 that is shorter is not looked for over the end of a line."""
_WRAP_HEAD = 4
_WRAP_LINE = 32

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
_LEFT_AS_IS = (b"", b"/", b"!'()*", b"!'()*;,/?:@&=+$#", b"*")
"""What usual percent-encoders leave alone besides: quote, quote(safe="/"), encodeURIComponent, encodeURI,
HTML forms."""
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_HTML_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""As several writers of JSON put them."""
_BREAKS = re.compile(rb"[\r\n]+")
_UNICODE = re.compile(r"\\u[0-9a-f]{4}")

Span = tuple[int, int]


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _base64(raw: bytes) -> set[bytes]:
    """The characters that base64 of anything that holds ``raw`` has to have, for each of three alignments."""
    found = set()
    for before, dropped in ((0, 0), (1, 2), (2, 3)):
        encoded = binascii.b2a_base64(bytes(before) + raw, newline=False)
        encoded = encoded[dropped : (before + len(raw)) * 8 // 6]
        found |= {encoded, encoded.translate(_URLSAFE)}
    return found


def _percent(raw: bytes) -> set[bytes]:
    found = set()
    for form in (b"%%%02X", b"%%%02x"):
        for extra in _LEFT_AS_IS:
            kept = _UNRESERVED | frozenset(extra)
            table = [bytes((byte,)) if byte in kept else form % byte for byte in range(256)]
            found.add(b"".join(map(table.__getitem__, raw)))
            table[32] = b"+"
            found.add(b"".join(map(table.__getitem__, raw)))
    return found


def _escaped(text: str, raw: bytes) -> set[str]:
    """As in a JSON string, in a Python literal of text or bytes, and between a shell's single quotes."""
    found = set()
    for quoted in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        found |= {
            quoted,
            quoted.translate(_HTML_SAFE),
            quoted.replace("/", "\\/"),
            _UNICODE.sub(lambda m: "\\u" + m[0][2:].upper(), quoted),
        }
    # With both quotes in it a literal stands in single quotes, and those within have backslashes.
    for literal in (repr(text + "'\"")[1:-4], ascii(text + "'\"")[1:-4], repr(raw + b"'\"")[2:-4]):
        found |= {literal, literal.replace("\\'", "'")}
    return found | {text.replace("'", "'\\''"), text.replace("'", "'\"'\"'")}


def _pieces(text: str) -> list[str]:
    size = max(_PIECE, len(text) // _PIECES + _OVERLAP)
    if len(text) <= size:
        return [text]
    starts = [*range(0, len(text) - size, size - _OVERLAP), len(text) - size]
    return [text[start : start + size] for start in starts]


def _lines(value: str) -> list[str]:
    """Without the blanks around them; those that are long enough."""
    lines = value.replace("\r", "\n").split("\n")
    return [line.strip() for line in lines if len(line.strip()) >= MIN_LINE] if len(lines) > 1 else []


class _Index:
    """Which of some byte strings, each of 4 or more bytes, occur in a text."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        grams: dict[tuple[bytes], list[bytes]] = {}
        needles = list(needles)
        least = min(64, min(map(len, needles)))
        self._width = 8 if least >= 16 else 4
        step = least - self._width + 1
        passes = -(-self._width // step)
        self._offsets = [step * n for n in range(passes)]
        self._sample = Struct(f"{self._width}s{passes * step - self._width}x")
        for needle in needles:
            for at in range(step):
                holders = grams.setdefault((needle[at : at + self._width],), [])
                if not holders or holders[-1] is not needle:
                    holders.append(needle)
        self._grams = grams
        self._keys = frozenset(grams)

    def candidates(self, data: bytes) -> set[bytes]:
        """Those that may occur; those that are left out do not."""
        found: set[tuple[bytes]] = set()
        view = memoryview(data)
        size = self._sample.size
        for offset in self._offsets:
            end = offset + max(0, len(data) - offset) // size * size
            found |= self._keys.intersection(self._sample.iter_unpack(view[offset:end]))
            last = (data[end : end + self._width],)
            if last in self._keys:
                found.add(last)
        return {needle for gram in found for needle in self._grams[gram]}


def _indexes(needles: Iterable[bytes]) -> list[_Index]:
    groups: dict[int, list[bytes]] = {}
    for needle in needles:
        groups.setdefault(min(6, len(needle).bit_length()), []).append(needle)
    return [_Index(group) for group in groups.values()]


class _Heads:
    """Finds the longest end of a text that some byte string goes on from."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self.longest = 0
        self._by_head: dict[bytes, list[bytes]] = {}
        self._short: set[bytes] = set()
        for needle in needles:
            self.longest = max(self.longest, len(needle))
            self._by_head.setdefault(needle[:4], []).append(needle)
            self._short.update((needle[:1], needle[:2], needle[:3]))

    def tails(self, data: bytes) -> Iterator[int]:
        """Where ends of 4 or more bytes that begin a byte string start, the longest first."""
        heads = self._by_head
        for at in range(max(0, len(data) - self.longest + 1), len(data) - 3):
            if data[at : at + 4] in heads:
                rest = data[at:]
                if any(len(n) > len(rest) and n.startswith(rest) for n in heads[rest[:4]]):
                    yield at

    def tail(self, data: bytes) -> int:
        """Where the longest such end starts; ``len(data)`` when there is none."""
        for at in self.tails(data):
            return at
        return next(
            (len(data) - n for n in (3, 2, 1) if n <= len(data) and data[-n:] in self._short), len(data)
        )


def _covering(needle: bytes, data: bytes) -> Iterator[Span]:
    """Occurrences that cover all that all occurrences cover, however they overlap."""
    size = len(needle)
    at = data.find(needle)
    while at >= 0:
        yield at, at + size
        overlapping = data.rfind(needle, at + 1, at + 2 * size - 1)
        at = overlapping if overlapping >= 0 else data.find(needle, at + size)


def _is_wrapped(text: bytes) -> bool:
    """Whether the breaks in a text may be those of base64 in lines of one length."""
    first, *more = text.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")
    return len(first) >= _WRAP_HEAD and all(len(line) >= _WRAP_LINE for line in more[:-1])


class _Flat:
    """A text without its line breaks, and the way back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.flat = data.translate(None, b"\r\n")
        self._at: list[int] = []
        self._removed: list[int] = []

    def original(self, at: int) -> int:
        if not self._at:
            removed = 0
            for match in _BREAKS.finditer(self.data):
                self._at.append(match.start() - removed)
                removed += len(match[0])
                self._removed.append(removed)
        n = bisect_right(self._at, at)
        return at + (self._removed[n - 1] if n else 0)


class Masker:
    """Replaces values, in every spelling that the module tells of, by :data:`REPLACEMENT`.

    Values shorter than MIN_LENGTH characters (without line breaks at their ends) are left as they are.
    Where spellings overlap, all that they cover is replaced as one.
    """

    def __init__(self, values: Iterable[str]) -> None:
        needles: set[bytes] = set()
        wrapped: set[bytes] = set()
        for value in set(values):
            core = value.strip("\r\n")
            if len(core) < MIN_LENGTH:
                continue
            for piece in _pieces(core):
                raw = _encode(piece)
                hexed = raw.hex().encode()
                needles |= {raw, hexed, hexed.upper(), *_percent(raw), *map(_encode, _escaped(piece, raw))}
                for encoded in _base64(raw):
                    needles.add(encoded)
                    if len(encoded) >= _WRAP_MIN:
                        wrapped.add(encoded)
            needles.update(_encode(piece) for line in _lines(core) for piece in _pieces(line))
        # What follows a break after its first few characters.
        wrapped |= {needle[_WRAP_HEAD - 1 :] for needle in wrapped}
        needles |= wrapped
        self._indexes = _indexes(needles)
        self._wrapped = _indexes(wrapped)
        self._heads = _Heads(needles)
        self._wrapped_heads = _Heads(wrapped)

    def __bool__(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._indexes)

    def mask(self, data: bytes) -> bytes:
        spans = self.spans(data)
        if not spans:
            return data
        parts: list[bytes] = []
        done = 0
        for start, end in spans:
            parts += (data[done:start], REPLACEMENT)
            done = end
        return b"".join((*parts, data[done:]))

    def mask_text(self, text: str) -> str:
        masked = self.mask(_encode(text))
        try:
            return masked.decode("utf-8", "surrogateescape")
        except UnicodeDecodeError:
            return masked.decode("utf-8", "replace")

    def spans(self, data: bytes) -> list[Span]:
        """What is to be replaced, in order; none overlaps another."""
        found = [
            span
            for index in self._indexes
            for needle in index.candidates(data)
            for span in _covering(needle, data)
        ]
        if self._wrapped and b"\n" in data:
            found += self._wrapped_spans(_Flat(data))
        found.sort()
        merged: list[Span] = []
        for start, end in found:
            if merged and start < merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        return merged

    def _wrapped_spans(self, text: _Flat) -> Iterator[Span]:
        for index in self._wrapped:
            for needle in index.candidates(text.flat):
                at = text.flat.find(needle)
                while at >= 0:
                    start, end = text.original(at), text.original(at + len(needle) - 1) + 1
                    if end - start > len(needle) and _is_wrapped(text.data[start:end]):
                        yield start, end
                    at = text.flat.find(needle, at + 1)

    def tail(self, data: bytes) -> int:
        """Where the longest end that more data could make a value starts; ``len(data)`` for none."""
        at = self._heads.tail(data)
        longest = self._wrapped_heads.longest
        window = data[-(longest + longest // _WRAP_LINE * 2 + 8) :]
        if longest and (b"\n" in window or window.endswith(b"\r")):
            text = _Flat(window)
            for flat_at in self._wrapped_heads.tails(text.flat):
                start = text.original(flat_at)
                if _is_wrapped(window[start:]):
                    return min(at, len(data) - len(window) + start)
        return at


class Stream:
    """Masks a stream that comes in chunks: where they are cut makes no difference to what comes out."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self._out = 0
        """How much of ``_held`` was put out already: it is kept only for what may follow it."""
        self._masked = 0
        """How much of ``_held`` is part of a value of which REPLACEMENT was put out already."""

    def feed(self, data: bytes) -> bytes:
        """What can be told by now; the longest end that may begin a value is held back."""
        data = self._held + data
        cut = self._masker.tail(data)
        parts: list[bytes] = []
        out, masked = self._out, self._masked
        for start, end in self._masker.spans(data):
            if start >= cut:
                break
            if start >= masked:
                parts += (data[out:start], REPLACEMENT)
            masked = max(masked, end)
            out = max(out, end)
        parts.append(data[out:cut])
        self._held = data[cut:]
        self._out = max(0, out - cut)
        self._masked = max(0, masked - cut)
        return b"".join(parts)

    def flush(self) -> bytes:
        """What was held back: masked when it is the beginning of a value and has MIN_LENGTH bytes or more.

        It stays in mind: should the rest of a value follow after all, that is masked as well.
        """
        held, out = self._held, self._out
        self._out = len(held)
        if len(held) < MIN_LENGTH:
            return held[out:]
        covered = len(held.rstrip(b"\r\n"))
        was_masked = self._masked > 0
        self._masked = max(self._masked, covered)
        return (b"" if was_masked or out >= covered else REPLACEMENT) + held[max(out, covered) :]
