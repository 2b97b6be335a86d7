"""What an environment says, merged over the document of what it inherits from. Pure, and on plain values.

A document is what a file without environments would hold. Merging never changes its arguments, and shares
all that it leaves as it is. It is idempotent, and associative where a key is a table in all or in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from homeport.spec.keys_config import OVERRIDABLE
from homeport.spec.locate import Path
from homeport.spec.variables import PLACES

Values = Mapping[str, Any]
_DEEPEST = 4
"""Tables that lie deeper are replaced, not merged: no key of homeport.toml lies that deep."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The table ``[environments.NAME]`` as the file holds it."""

    name: str
    table: Values

    @property
    def path(self) -> Path:
        return ("environments", self.name)

    def value_at(self, path: Path) -> Path | None:
        """Where in the table the value at ``path`` of a merged document is written; None when it is not.

        A plain value may stand for a table, so the answer may be shorter than ``path``. Tables are not
        values, but for ``routes``, which are replaced as a whole.
        """
        if len(path) == 3 and path[0] == "processes" and path[2] == "replicas":
            replicas = self.table.get("replicas")
            if isinstance(replicas, dict) and path[1] in replicas:
                return ("replicas", path[1])
        value: Any = self.table
        for n, key in enumerate(path):
            if not isinstance(value, dict):
                return path[:n]
            if key not in value:
                return None
            value = value[key]
        return path if not isinstance(value, dict) or path[0] == "routes" else None


def merged(document: Values, layer: Values) -> Values:
    """``document`` with what ``layer`` says over it.

    ``layer`` may hold the tables of :data:`OVERRIDABLE`, ``domains``, ``replicas`` and ``gate``; all else is
    passed over. Of ``domains`` and ``routes``, the later ones hold.
    """
    result = dict(document)
    if "gate" in layer:
        result["gate"] = layer["gate"]
    for name in OVERRIDABLE:
        if name in layer:
            result[name] = _RULES.get(name, _merge)(result.get(name), layer[name])
    if "domains" in layer:
        result["domains"] = layer["domains"]
    elif "routes" in layer:
        result.pop("domains", None)
    for name, count in layer.get("replicas", {}).items():
        result["processes"] = _merge(result.get("processes"), {name: {"replicas": count}})
    return _without_older(result, layer)


def _without_older(result: dict[str, Any], layer: Values) -> Values:
    """A variable of the older table ``[env]`` that the layer has too becomes one of ``[variables]``."""
    older, names = result.get("env"), layer.get("variables")
    if not isinstance(older, dict) or not isinstance(names, dict) or older.keys().isdisjoint(names):
        return result
    variables = dict(result["variables"]) if isinstance(result["variables"], dict) else {}
    for name in older.keys() & names.keys():
        variables[name] = _merge_variable(older[name], variables[name])
    result["variables"] = variables
    result["env"] = {name: value for name, value in older.items() if name not in names}
    return result


def _merge(under: Any, over: Any, deepest: int = _DEEPEST) -> Any:
    """Tables key by key; of anything else ``over`` replaces ``under``."""
    if not isinstance(under, dict) or not isinstance(over, dict) or deepest == 0:
        return over
    merged_keys = {k: _merge(under[k], v, deepest - 1) if k in under else v for k, v in over.items()}
    return {**under, **merged_keys}


def _each(rule: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Two tables, of which what has the same name is merged by ``rule``."""

    def merge(under: Any, over: Any) -> Any:
        if not isinstance(under, dict) or not isinstance(over, dict):
            return over
        return {**under, **{k: rule(under[k], v) if k in under else v for k, v in over.items()}}

    return merge


def _merge_variable(under: Any, over: Any) -> Any:
    """A plain value is a default. Where a value comes from is said by the last that says any of it."""
    if not isinstance(under, dict) and not isinstance(over, dict):
        return over
    below = under if isinstance(under, dict) else {"default": under}
    above = over if isinstance(over, dict) else {"default": over}
    if any(place in above for place in PLACES):
        below = {key: value for key, value in below.items() if key not in PLACES}
    return {**below, **above}


def _merge_hook(under: Any, over: Any) -> Any:
    """A plain value is a command."""
    if not isinstance(under, dict) and not isinstance(over, dict):
        return over
    below = under if isinstance(under, dict) else {"command": under}
    above = over if isinstance(over, dict) else {"command": over}
    return {**below, **above}


def _replaced(under: Any, over: Any) -> Any:
    return over


_RULES: Mapping[str, Callable[[Any, Any], Any]] = {
    "variables": _each(_merge_variable),
    "hooks": _each(_merge_hook),
    "routes": _replaced,
}
