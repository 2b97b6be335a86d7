"""Words for error messages."""

from collections.abc import Iterable


def distance(a: str, b: str) -> int:
    """Levenshtein distance: single-character insertions, deletions, substitutions."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[len(b)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, when it is close enough to be meant."""
    best = min(known, key=lambda k: (distance(word, k), k), default=None)
    if best is None or distance(word, best) > max(1, len(best) // 3):
        return None
    return best


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, else all of them."""
    words = sorted(known)
    best = nearest(word, words)
    if best is not None:
        return f'did you mean "{best}"?'
    return f"known: {', '.join(words)}" if words else ""
