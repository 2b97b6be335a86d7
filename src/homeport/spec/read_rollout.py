"""``[rollout]`` and the signals in it."""

from __future__ import annotations

from functools import partial

from homeport.spec.keys_rollout import ROLLOUT, SIGNAL
from homeport.spec.locate import Path
from homeport.spec.model import Rollout, Signal
from homeport.spec.reading import Reading, Values
from homeport.spec.values import Name

MOST_SIGNALS = 20
_LONGEST_SIGNAL_NAME = 30


def read_rollout(reading: Reading, document: Values) -> Rollout:
    table = reading.table(document, (ROLLOUT,))
    values = reading.keys(ROLLOUT, (ROLLOUT,), table)
    return Rollout(signals=_signals(reading, table), **values)


def _signals(reading: Reading, rollout: Values) -> tuple[Signal, ...]:
    path = (ROLLOUT, "signals")
    tables = reading.table(rollout, path)
    if len(tables) > MOST_SIGNALS:
        reading.problems.add(path, f"are {len(tables):,}; at most {MOST_SIGNALS} are possible")
        return ()
    signals = (
        reading.once(f"signal {name}", (tables[name],), partial(_signal, reading, tables, (*path, name)))
        for name in tables
    )
    return tuple(signal for signal in signals if signal is not None)


def _signal(reading: Reading, tables: Values, path: Path) -> Signal | None:
    name = path[-1]
    before = len(reading.problems)
    data = reading.table(tables, path)
    if len(reading.problems) > before:
        return None
    try:
        Name(longest=_LONGEST_SIGNAL_NAME).read(name)
    except ValueError as error:
        reading.problems.add(path, str(error))
    values = reading.keys(SIGNAL, path, data)
    if "url" in data and "command" in data:
        reading.problems.add(path, 'has both "url" and "command": a signal has one of them')
    elif "url" not in data and "command" not in data:
        reading.problems.add(path, 'needs a "url" that answers its number, or a "command" that prints it')
    if "most" not in data and "least" not in data:
        reading.problems.add(path, 'needs a bound: "most", "least" or both')
    _check_bounds(reading, path, values)
    return Signal(name, **values)


def _check_bounds(reading: Reading, path: Path, values: Values) -> None:
    most, least = values.get("most"), values.get("least")
    if most is not None and least is not None and least > most:
        reading.problems.add((*path, "least"), f'must not be above "most", which is {most:g}, got {least:g}')
    if values.get("compare"):
        for key, bound in (("most", most), ("least", least)):
            if bound is not None and bound < 0:
                reading.problems.add(
                    (*path, key),
                    f"must not be below 0 with compare: it is a multiple of what the release before has, got {bound:g}",
                )
