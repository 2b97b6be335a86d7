"""Which column is masked how, or all that is wrong with what is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from homeport.backup.clone.model import (
    ADDRESSES,
    MOMENTS,
    REAL,
    TEXT,
    WHOLE,
    Catalog,
    Column,
    Key,
    Masked,
    Shape,
)
from homeport.backup.clone.suspects import words
from homeport.spec.model_backup import Mask

SHORTEST = 12
"""Characters of a hash that are unique among some million values."""
EMAIL_TAIL = len("u@example.com")
_TOPS = {"int2": 2**15 - 1, "int4": 2**31 - 1}
_FITS = {
    **dict.fromkeys(("email", "name", "phone", "address"), TEXT),
    "text": TEXT | {"tsvector"},
    "number": WHOLE | REAL | TEXT,
    "date": MOMENTS,
    "ip": ADDRESSES | TEXT,
    "hash": TEXT | {"uuid", "bytea"},
}


def planned(catalog: Catalog, wanted: Iterable[Mask], database: str) -> tuple[tuple[Masked, ...], list[str]]:
    """(masks, problems). A mask of "keep" is none. ``wanted``: of this database alone."""
    problems: list[str] = []
    rules: dict[Key, str] = {}
    for mask in wanted:
        column, problem = _column(catalog, mask, database)
        if column is None:
            problems.append(problem)
        else:
            rules[column.key] = mask.rule
    groups = _groups(catalog.references)
    masks: list[Masked] = []
    for column in catalog.columns:
        rule = rules.get(column.key, "keep")
        if rule == "keep":
            continue
        group = [found for key in groups.get(column.key, (column.key,)) if (found := catalog.find(key))]
        shape = _shape(group)
        problems += _wrong(column, rule, shape, database)
        problems += _apart(catalog, column, rule, rules, database)
        mask_ = Masked(column, rule, shape)
        if mask_.moves and (column.schema, column.table) in catalog.inherited:
            problems.append(
                f"{column.shown(database)} is unique, and other tables inherit it: {rule} does not fit"
            )
        masks.append(mask_)
    return tuple(masks), list(dict.fromkeys(problems))


def named(catalog: Catalog, wanted: Iterable[Mask]) -> frozenset[Key]:
    """Columns that a mask names, "keep" included."""
    return frozenset((*m.table.partition(".")[::2], m.column) for m in wanted)


def _column(catalog: Catalog, mask: Mask, database: str) -> tuple[Column | None, str]:
    schema, _, table = mask.table.partition(".")
    found = catalog.find((schema, table, mask.column))
    if found is not None:
        if found.generated and mask.rule != "keep":
            return None, f"{found.shown(database)} is generated: mask what it is made of"
        return found, ""
    whole = (catalog.inside or {}).get((schema, table))
    shown = Column(schema, table, mask.column, "", "").shown(database)
    if whole is not None and catalog.find((*whole, mask.column)) is not None:
        there = Column(*whole, mask.column, "", "").shown(database)
        return None, f"{shown} is part of another table: name {there}"
    close = get_close_matches(shown, [c.shown(database) for c in catalog.columns], 1)
    meant = f"; {close[0]} is there" if close else ""
    return None, f"{shown} is not in the database{meant}"


def _groups(references: Sequence[tuple[Key, Key]]) -> dict[Key, tuple[Key, ...]]:
    """Columns that hold the same values, by each of them."""
    of: dict[Key, set[Key]] = {}
    for one, other in references:
        together = of.get(one, {one}) | of.get(other, {other})
        for key in together:
            of[key] = together
    return {key: tuple(sorted(group)) for key, group in of.items()}


def _shape(group: Sequence[Column]) -> Shape:
    lengths = [c.length for c in group if c.length is not None]
    first = min(group, key=lambda c: c.key)
    return Shape(
        unique=any(c.unique for c in group),
        length=min(lengths, default=None),
        part=_part(first.name),
        top=min(_TOPS.get(c.type, 2**63 - 1) for c in group),
    )


def _part(name: str) -> str:
    found = set(words(name))
    if found & {"first", "given", "forename", "firstname", "middle"}:
        return "first"
    if found & {"last", "family", "surname", "lastname", "maiden"}:
        return "last"
    return "full"


def _wrong(column: Column, rule: str, shape: Shape, database: str) -> list[str]:
    shown = column.shown(database)
    if rule == "null":
        return [f"{shown} cannot be null, so it cannot be masked by null"] if column.not_null else []
    if column.type not in _FITS[rule]:
        possible = [r for r, types in _FITS.items() if column.type in types]
        instead = ", ".join([*possible, *([] if column.not_null else ["null"]), "keep"])
        return [f"{shown} is of type {column.declared}, which {rule} does not fit: {instead} would"]
    problems = []
    room = shape.length
    least = SHORTEST if shape.unique else 4
    need = {"email": EMAIL_TAIL + least, "hash": least, "text": least if shape.unique else 1}.get(rule, least)
    if room is not None and room < need and column.type in TEXT:
        unique = " and unique" if shape.unique else ""
        problems.append(f"{shown} has {room} characters at most{unique}, which is too few for {rule}")
    if rule == "number" and shape.unique and column.type in TEXT:
        problems.append(f"{shown} is unique, and digits in a text may become the same: hash keeps them apart")
    if (
        rule == "ip"
        and shape.unique
        and (column.type == "cidr" or (column.type in TEXT and (room or 39) < 39))
    ):
        problems.append(f"{shown} is unique, and masked addresses may become the same")
    if rule == "date" and shape.unique and column.declared.startswith("timestamp("):
        problems.append(f"{shown} is unique and rounded, so that two may become the same")
    return problems


def _apart(catalog: Catalog, column: Column, rule: str, rules: dict[Key, str], database: str) -> list[str]:
    """Where a foreign key would lead nowhere."""
    found = []
    for referencing, referenced in catalog.references:
        if column.key not in (referencing, referenced):
            continue
        other = referenced if column.key == referencing else referencing
        if other == column.key or rules.get(other, "keep") == rule:
            continue
        if rule == "null" and column.key == referencing:
            continue
        if column.key == referenced and rules.get(other) == "null":
            continue
        there = catalog.find(other)
        if there is not None:
            how = "refers to" if column.key == referencing else "is referred to by"
            found.append(
                f'{column.shown(database)} {how} {there.shown(database)}: add "{there.shown(database)}" = "{rule}"'
            )
    return found
