"""``[environments]``: each one's whole document, after what it inherits from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from homeport.spec.keys_config import ENVIRONMENT, OVERRIDABLE
from homeport.spec.layers import Layer, merged
from homeport.spec.problems import EnvironmentProblems, Problems
from homeport.spec.reading import Reading, Values
from homeport.spec.values import Name, shown

MOST_ENVIRONMENTS = 100
MOST_INHERITED = 10
"""Environments that one inherits from, one after the other."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The document of one environment, and where its problems go."""

    name: str
    document: Values
    problems: EnvironmentProblems


def merge_all(reading: Reading, told: Problems, document: Values) -> Iterator[Merged]:
    """Every environment of the file, each after the one that it inherits from.

    Left out is one whose inheritance is wrong, and what comes when so many problems are told that
    further ones would only be counted. ``reading`` is that of the whole file, whose problems go to ``told``.
    """
    layers = _layers(reading, document)
    app = {name: value for name, value in document.items() if name not in ("environments", "domains")}
    done: dict[str, Merged] = {}
    for name in _in_order(reading, layers):
        if told.is_full:
            return
        layer, says = layers[name]
        parent = done.get(says["inherits"]) if "inherits" in says else None
        below = parent.document if parent else app
        says = _known_replicas(reading, layer, says, below)
        problems = EnvironmentProblems(told, layer, parent.problems if parent else told)
        done[name] = Merged(name, merged(below, says), problems)
        yield done[name]


def _layers(reading: Reading, document: Values) -> dict[str, tuple[Layer, Values]]:
    """By name: what the file holds, and what of it can be used."""
    found: dict[str, tuple[Layer, Values]] = {}
    tables = reading.named(document, "environments", "staging")
    if len(tables) > MOST_ENVIRONMENTS:
        reading.problems.add(
            ("environments",), f"are {len(tables)}; at most {MOST_ENVIRONMENTS} are possible"
        )
        return {}
    for name, table in tables.items():
        layer = Layer(name, table)
        try:
            Name().read(name)
        except ValueError as error:
            reading.problems.add(layer.path, str(error))
            continue
        found[name] = (layer, _says(reading, layer))
    return found


def _says(reading: Reading, layer: Layer) -> Values:
    own = {key: value for key, value in layer.table.items() if key not in OVERRIDABLE}
    values = reading.keys(ENVIRONMENT, layer.path, own, also=OVERRIDABLE)
    if "domains" in layer.table and "routes" in layer.table:
        reading.problems.add(
            (*layer.path, "domains"),
            "stand against its own [routes], which name hosts: take one of the two out",
        )
        values.pop("domains", None)
    elif "domains" in layer.table:
        values.setdefault("domains", ())
    return {**{key: layer.table[key] for key in OVERRIDABLE if key in layer.table}, **values}


def _known_replicas(reading: Reading, layer: Layer, says: Values, below: Values) -> Values:
    """Without the numbers for processes that are not there."""
    known: dict[str, None] = {}
    for table in (below.get("processes"), says.get("processes")):
        if isinstance(table, dict):
            known |= dict.fromkeys(table)
    kept = {}
    for name, count in says.get("replicas", {}).items():
        path = (*layer.path, "replicas", name)
        own = layer.table.get("processes")
        own = own.get(name) if isinstance(own, dict) else None
        if name not in known:
            reading.problems.add(path, f"no process {shown(name)}{reading.guess(name, tuple(known))}")
        elif isinstance(own, dict) and "replicas" in own:
            again = reading.place((*layer.path, "processes", name, "replicas"))
            reading.problems.add(path, f"is also {again}: take one of the two out")
        else:
            kept[name] = count
    return {**says, "replicas": kept}


def _in_order(reading: Reading, layers: Mapping[str, tuple[Layer, Values]]) -> list[str]:
    """The environments whose inheritance is right, each after the one that it inherits from."""
    depths: dict[str, int | None] = {
        name: None
        for name, (layer, says) in layers.items()
        if "inherits" in layer.table and "inherits" not in says
    }
    """How many each inherits from; None where that is wrong."""
    order = []
    for first in layers:
        chain: list[str] = []
        name: str | None = first
        while name is not None and name not in depths and name not in chain:
            chain.append(name)
            name = _parent(reading, layers, name)
            if name is not None and name not in layers:
                depths[name] = None
        if name in chain:
            circle = " → ".join((*chain[chain.index(name) :], name))
            reading.problems.add(
                ("environments", chain[chain.index(name)], "inherits"), f"is a cycle: {circle}"
            )
            depths |= dict.fromkeys(chain)
        depth = -1 if name is None else depths[name]
        for link in reversed(chain):
            if link in depths:
                continue
            depth = None if depth is None else depth + 1
            if depth is not None and depth > MOST_INHERITED:
                reading.problems.add(
                    ("environments", link, "inherits"),
                    f"is the {MOST_INHERITED + 1}th in a chain of environments; at most {MOST_INHERITED} are possible",
                )
                depth = None
            depths[link] = depth
            if depth is not None:
                order.append(link)
    return order


def _parent(reading: Reading, layers: Mapping[str, tuple[Layer, Values]], name: str) -> str | None:
    """What ``name`` inherits from; there is a problem when that is not declared."""
    layer, says = layers[name]
    if "inherits" not in says:
        return None
    parent = str(says["inherits"])
    if parent not in layers:
        known = tuple(other for other in layers if other != name)
        reading.problems.add(
            (*layer.path, "inherits"),
            f"no environment {shown(parent)} in this file{reading.guess(parent, known)}",
        )
    return parent
