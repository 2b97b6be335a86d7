"""``[backup]``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeport.spec.keys_backup import BACKUP, KEEP, PROOF_QUERY
from homeport.spec.locate import Path
from homeport.spec.model_backup import MASKS, Backup, Keep, Mask, ProofQuery
from homeport.spec.model_database import Database
from homeport.spec.read_settings import check_schedule
from homeport.spec.reading import Reading, Values
from homeport.spec.values import Choice, Name, shown
from homeport.spec.values_backup import MaskedColumn, Query

MOST_PROOFS = 50
MOST_MASKS = 500
_TOP: Path = (BACKUP,)
WORDS = ("daily", "weekly", "monthly")
"""Schedules of drills as people say them."""


def read_backup(reading: Reading, document: Values, databases: Iterable[Database]) -> Backup | None:
    """None where there is no ``[backup]``."""
    if BACKUP not in document:
        return None
    data = reading.table(document, _TOP)
    values = reading.keys(BACKUP, _TOP, data)
    if values.get("drill") in WORDS:
        values["drill"] = f"@{values['drill']}"
    _check_schedules(reading, values)
    keep = reading.keys(KEEP, (*_TOP, "keep"), reading.table(data, (*_TOP, "keep")))
    names = tuple(d.name for d in databases)
    return Backup(
        **values,
        keep=Keep(**keep),
        proof=_proofs(reading, data, names),
        mask=_masks(reading, data, names),
    )


def _check_schedules(reading: Reading, values: dict[str, Any]) -> None:
    for key in ("schedule", "full", "drill"):
        if key in values:
            check_schedule(reading, _TOP, values[key], "UTC", key)
    if "timezone" in values:
        check_schedule(reading, _TOP, "0 * * * *", values["timezone"])


def _few(reading: Reading, data: Values, name: str, most: int) -> Values:
    found = reading.table(data, (*_TOP, name))
    if len(found) > most:
        reading.problems.add((*_TOP, name), f"are {len(found):,}; at most {most} are possible")
        return {}
    return found


def _check_name(reading: Reading, path: Path) -> None:
    try:
        Name().read(path[-1])
    except ValueError as error:
        reading.problems.add(path, str(error))


# Proofs and masks


def _proofs(reading: Reading, data: Values, databases: tuple[str, ...]) -> tuple[ProofQuery, ...]:
    tables = _few(reading, data, "proof", MOST_PROOFS)
    found = (_proof(reading, (*_TOP, "proof", name), tables[name], databases) for name in tables)
    return tuple(proof for proof in found if proof is not None)


def _proof(reading: Reading, path: Path, value: object, databases: tuple[str, ...]) -> ProofQuery | None:
    _check_name(reading, path)
    if isinstance(value, dict):
        values = reading.keys(PROOF_QUERY, path, value)
        if not reading.required(("query",), path, value) or "query" not in values:
            return None
        proof = ProofQuery(path[-1], **values)
    else:
        try:
            proof = ProofQuery(path[-1], Query().read(value))
        except ValueError as error:
            reading.problems.add(path, str(error))
            return None
    where = (*path, "database") if isinstance(value, dict) and "database" in value else path
    _check_database(reading, where, proof.database, databases)
    return proof


def _masks(reading: Reading, data: Values, databases: tuple[str, ...]) -> tuple[Mask, ...]:
    found: dict[tuple[str, str, str], tuple[str, Mask]] = {}
    for name, value in _few(reading, data, "mask", MOST_MASKS).items():
        path = (*_TOP, "mask", name)
        try:
            column = MaskedColumn().read(name)
            rule = Choice(MASKS).read(value)
        except ValueError as error:
            reading.problems.add(path, str(error))
            continue
        database, table, of_table = column
        _check_database(reading, path, database, databases)
        if column in found:
            reading.problems.add(
                path, f"is the same column as {reading.place((*_TOP, 'mask', found[column][0]))}"
            )
        found[column] = (name, Mask(table, of_table, rule, database))
    return tuple(mask for _, mask in found.values())


def _check_database(reading: Reading, path: Path, name: str, databases: tuple[str, ...]) -> None:
    if name in databases:
        return
    if not databases:
        reading.problems.add(path, f"is about the database {shown(name)}, and there is no [database]")
    else:
        reading.problems.add(path, f"is about no database of this file{reading.guess(name, databases)}")
