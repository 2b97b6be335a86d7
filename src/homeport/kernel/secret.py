"""A text that must not be shown by accident: it prints as stars, and nothing but ``reveal`` gives it."""

from typing import Any, NoReturn


class Secret:
    """Neither ``str``, ``repr``, ``format`` nor pickling tell what it holds."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a secret")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> "Secret":
        return self
