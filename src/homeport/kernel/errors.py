"""What can go wrong, each kind once: a stable code, a sentence that begins with "cannot …", a hint.

An error type is declared with :func:`declare` beside the code that raises it; the reference in
``docs/reference/errors.md`` is generated from the declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What an error means for the caller: (HTTP status, exit status of the CLI)."""

    FAILED = (500, 1)
    """Something broke on our side or in a part."""
    INVALID = (422, 3)
    """The input is wrong; the same call will fail again."""
    NOT_FOUND = (404, 4)
    CONFLICT = (409, 5)
    """It stands against what is there now: another change runs, a name is taken."""
    UNAVAILABLE = (503, 6)
    """The control plane, or a part it needs, does not answer now."""
    ROLLED_BACK = (409, 7)
    """The change was not kept: the release that served before serves on."""
    MISSING_PART = (424, 8)
    """This machine lacks something: HAProxy, a kernel feature, a right."""
    NO_SPACE = (507, 9)
    """A disk or a budget is full."""

    @property
    def http_status(self) -> int:
        return self.value[0]

    @property
    def exit_status(self) -> int:
        return self.value[1]


EXIT_USAGE = 2
"""The command line itself is wrong (Click's own status)."""
EXIT_INTERRUPTED = 130


class HomeportError(Exception):
    """An error for people: what could not be done, and what to do next."""

    def __init__(
        self,
        type_: ErrorType,
        sentence: str,
        hint: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(sentence)
        self.type = type_
        self.sentence = sentence
        self.hint = hint
        self.details = details
        """Further lines, such as every error of a file or the last lines of a log."""

    @property
    def code(self) -> str:
        return self.type.code

    @property
    def kind(self) -> Kind:
        return self.type.kind


@dataclass(frozen=True, slots=True)
class ErrorType:
    """A kind of error. ``code`` is ``room.snake_case`` and never changes its meaning."""

    code: str
    kind: Kind
    when: str
    """One sentence for the reference: when this happens."""
    retry: bool = False
    """Whether the same call may succeed later."""

    def error(
        self, sentence: str, *, hint: str = "", details: tuple[str, ...] | list[str] = ()
    ) -> HomeportError:
        """An error of this type. ``sentence`` begins with "cannot "."""
        return HomeportError(self, sentence, hint, tuple(details))


@dataclass(slots=True)
class _Catalogue:
    types: dict[str, ErrorType] = field(default_factory=dict)


_catalogue = _Catalogue()


def declare(code: str, kind: Kind, when: str, *, retry: bool = False) -> ErrorType:
    """Declare an error type once. Raises ValueError when the code is taken."""
    if code in _catalogue.types:
        raise ValueError(f"error code declared twice: {code}")
    type_ = ErrorType(code, kind, when, retry)
    _catalogue.types[code] = type_
    return type_


def catalogue() -> tuple[ErrorType, ...]:
    """Every declared type of the rooms imported so far, by code."""
    return tuple(_catalogue.types[code] for code in sorted(_catalogue.types))


def find(code: str) -> ErrorType | None:
    """The type of a code, where the room that declares it was imported."""
    return _catalogue.types.get(code)
