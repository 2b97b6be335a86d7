"""``[previews]``, and what environments of branches come to."""

from __future__ import annotations

from collections.abc import Iterable

from homeport.spec.keys_pipeline import PREVIEWS
from homeport.spec.model import Previews, Route
from homeport.spec.read_processes import rehosted
from homeport.spec.reading import Reading, Values
from homeport.spec.routes import ANY_HOST

TEMPLATE = "preview"
"""The environment that says what previews run."""


def read_previews(reading: Reading, document: Values, routes: Iterable[Route] | None) -> Previews | None:
    """None where the app has none. ``routes`` are those of what previews run; None while they are in doubt."""
    if PREVIEWS not in document:
        return None
    values = reading.keys(PREVIEWS, (PREVIEWS,), reading.table(document, (PREVIEWS,)))
    _refuse_hosts(reading, document)
    if routes:
        try:
            rehosted(routes, ("localhost",), TEMPLATE)
        except ValueError as error:
            reading.problems.add((PREVIEWS,), f"{error}, with {ANY_HOST} for the host")
    return Previews(**values)


def _refuse_hosts(reading: Reading, document: Values) -> None:
    """What previews run has no hosts of its own: each preview has another one."""
    environments = document.get("environments")
    template = environments.get(TEMPLATE) if isinstance(environments, dict) else None
    if not isinstance(template, dict):
        return
    path = ("environments", TEMPLATE)
    why = "each preview has a host of its own, below the domain of [previews]"
    if "domains" in template:
        reading.problems.add((*path, "domains"), f"have no use: {why}; take them out")
    routes = template.get("routes")
    for key in routes if isinstance(routes, dict) else ():
        if key.partition("/")[0] != ANY_HOST:
            reading.problems.add((*path, "routes", key), f'must be for any host, such as "{ANY_HOST}": {why}')
