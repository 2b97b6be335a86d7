"""Reading the tables of a document by the table of keys, noting what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar

from homeport.kernel.text import did_you_mean, nearest
from homeport.spec.containers import Container
from homeport.spec.keys import ELSEWHERE, KEYS, LATER, OLDER, keys_of, tables_in
from homeport.spec.locate import Element, Path, line_of
from homeport.spec.problems import path_text
from homeport.spec.values import Type, shown

_LONGEST_GUESSED = 60
_MOST_GUESSED = 50
"""Longer words, and more known ones, are not compared: that takes the product of all their lengths."""
_MOST_ELSEWHERE = 3
_WRONG = object()
"""In place of a value that is left out."""

Values = Mapping[str, Any]
T = TypeVar("T")


class Notes(Protocol):
    """Where problems of a document go; paths are those of the document that is read."""

    def add(self, path: Path, reason: str) -> None: ...

    def under(self, path: Path) -> bool:
        """Whether there is a problem at ``path`` or below it."""
        ...

    def written_at(self, path: Path) -> Path:
        """Where in the file the value at ``path`` is written."""
        ...

    @property
    def is_full(self) -> bool: ...

    @property
    def is_long(self) -> bool: ...

    def __len__(self) -> int: ...


class Reading:
    """One file, of which several documents are read: the app's own, and that of each environment.

    A wrong value is left out of what is read. The documents share what an environment does not change,
    and nothing changes them, so what was read of the very same values is not read again.
    """

    def __init__(self, problems: Notes, lines: Mapping[Path, int]) -> None:
        self.problems = problems
        self._lines = lines
        self._known: dict[tuple[object, ...], tuple[object, Any]] = {}
        self._guesses: dict[tuple[str, str, tuple[str, ...]], str] = {}

    def within(self, problems: Notes) -> Reading:
        """The same file, for a document whose problems go to ``problems``."""
        other = Reading(problems, self._lines)
        other._known = self._known
        other._guesses = self._guesses
        return other

    def once(self, what: Hashable, sources: tuple[object, ...], read: Callable[[], T]) -> T:
        """``read()``, or what it gave before for the very same sources, when there was no problem."""
        key = (what, *map(id, sources))
        if key in self._known:
            result: T = self._known[key][1]
            return result
        before = len(self.problems)
        result = read()
        if len(self.problems) == before:
            self._known[key] = (sources, result)  # keeps the sources, so that no other gets their ids
        return result

    def place(self, path: Path) -> str:
        """The value at ``path`` for a message: ``'routes."*"' in line 7``."""
        written = self.problems.written_at(path)
        return f"'{path_text(written)}' in line {line_of(written, self._lines)}"

    def table(self, around: Values, path: Path) -> Values:
        """The table at ``path``, whose last key is looked up in ``around``; {} where there is none."""
        value = around.get(path[-1], {})
        if isinstance(value, dict):
            return value
        hint = f": write [{_heading(path)}], not [[…]]" if isinstance(value, list) else ""
        self.problems.add(path, f"must be a table, got {shown(value)}{hint}")
        return {}

    def named(self, document: Values, table: str, like: str) -> Values:
        """The tables inside ``table``, by names of the team's choice; ``like`` is such a name."""
        found = {}
        around = self.table(document, (table,))
        keys = {key.name for key in KEYS if key.table.startswith(f"{table}.NAME")}
        for name, value in around.items():
            if isinstance(value, dict):
                found[name] = value
            elif name in keys:
                self.problems.add((table, name), f"belongs in a table, such as [{table}.{like}]")
            else:
                self.table(around, (table, name))
        return found

    def keys(self, table: str, path: Path, data: Values, also: tuple[str, ...] = ()) -> dict[str, Any]:
        """The values of one table, by key, as its model holds them; ``also`` are known keys read elsewhere."""
        self.refuse_unknown(table, path, data, also)
        values: dict[str, Any] = {}
        for name, key in keys_of(table).items():
            if name in data:
                value = self.value(key.type, (*path, name), data[name])
                if value is not _WRONG:
                    values[name] = value
        return values

    def value(self, kind: Type, path: Path, value: object) -> Any:
        """The value at ``path`` as its model holds it; :data:`_WRONG`, and a problem, when it is wrong."""
        try:
            if not isinstance(kind, Container):
                return kind.read(value)
            items = [(key, self.value(of, (*path, key), item)) for key, of, item in kind.items(value)]
            return kind.made(items) if all(item is not _WRONG for _, item in items) else _WRONG
        except ValueError as error:
            self.problems.add(path, str(error))
            return _WRONG

    def elements(self, around: Values, path: Path, what: str, most: int) -> list[tuple[Path, Values]]:
        """The tables in the array at ``path``, whose last key is looked up in ``around``, each with its path.

        None of them, and a problem, when there are more than ``most``; ``what`` is what they are called then.
        """
        value = around.get(path[-1], [])
        if not isinstance(value, list):
            self.problems.add(
                path,
                f"must be an array of tables, got {shown(value)}: write [[{_heading(path)}]], with two brackets",
            )
            return []
        if len(value) > most:
            self.problems.add(path, f"are {len(value):,} {what}; at most {most} are possible")
            return []
        found: list[tuple[Path, Values]] = []
        for n, element in enumerate(value, 1):
            here = (*path, Element(n))
            if isinstance(element, dict):
                found.append((here, element))
            else:
                self.problems.add(here, f"must be a table, got {shown(element)}")
        return found

    def required(self, names: tuple[str, ...], path: Path, data: Values) -> bool:
        """Whether ``data`` has all of the keys; of each one that it lacks there is a problem then."""
        missing = [name for name in names if name not in data]
        for name in missing:
            self.problems.add(path, f'needs a key "{name}"')
        return not missing

    def refuse_unknown(self, table: str, path: Path, data: Values, also: tuple[str, ...] = ()) -> None:
        known = (*keys_of(table), *tables_in(table), *also)
        for name in data:
            if name in known or (not table and name in OLDER):
                continue
            here = (*path, name)
            full = f"{table}.{name}" if table else name
            if full in LATER:
                self.problems.add(here, f"{LATER[full]} not in this version of Homeport yet; take it out")
            elif full in ELSEWHERE:
                self.problems.add(here, ELSEWHERE[full])
            else:
                self.problems.add(here, f"unknown key{self.guess(name, known, table)}")

    def guess(self, word: str, known: tuple[str, ...], table: str | None = None) -> str:
        """What may have been meant: a known word near ``word``, or a key of that name in another table.

        ``table`` is where a key is looked for; None where the word is no key.
        """
        known = known[:_MOST_GUESSED]
        if self.problems.is_full or not known:
            return ""
        key = (word, table or "", known)
        if key not in self._guesses:
            self._guesses[key] = _guess(word, known, table)
        return self._guesses[key]


def _heading(path: Path) -> str:
    """What stands between the brackets before the table at ``path``."""
    return path_text(tuple(part for part in path if not isinstance(part, Element)))


def _guess(word: str, known: tuple[str, ...], table: str | None) -> str:
    if len(word) > _LONGEST_GUESSED:
        return f"; known: {', '.join(sorted(known))}"
    if table is not None and nearest(word, known) is None:
        elsewhere = [key.path for key in KEYS if key.name == word]
        root = table.partition(".")[0]
        near = [path for path in elsewhere if path.partition(".")[0] == root]
        if elsewhere:
            paths = (near or elsewhere)[:_MOST_ELSEWHERE]
            return "; did you mean " + " or ".join(f"'{path}'" for path in paths) + "?"
    return f"; {did_you_mean(word, known)}"
