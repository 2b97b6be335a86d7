"""The documents that launchers start from, on disk: sealing their secrets anew."""

import json
from collections.abc import Callable
from pathlib import Path

from homeport.runtime.layout import Layout
from homeport.system.files import write_atomic
from homeport.system.seal import WrongKey


def text(document: dict[str, object]) -> str:
    return json.dumps(document, indent=1)


def paths(layout: Layout) -> tuple[Path, ...]:
    """All that may hold secrets: of instances, and of runs of scheduled commands."""
    return (*layout.instances.glob("*.json"), *layout.data.glob("cron/*/run.json"))


def reseal(path: Path, box_reseal: Callable[[str], str]) -> bool:
    """Whether the document holds secrets: then they are sealed anew, all or none of them."""
    try:
        document = json.loads(path.read_text())
        secrets = document.get("secrets")
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError):
        return False  # not whole, so nothing can be started from it
    if not secrets:
        return False
    document["secrets"] = {name: resealed(token, box_reseal) for name, token in secrets.items()}
    try:
        write_atomic(path, text(document), mode=0o600)
    except FileNotFoundError:
        return False  # its directory was removed meanwhile
    return True


def resealed(token: str, box_reseal: Callable[[str], str]) -> str:
    """The token itself when no key opens it: there is nothing to lose in it."""
    try:
        return box_reseal(token)
    except WrongKey:
        return token


def remove_cut_off(layout: Layout) -> None:
    """Remove what an atomic write of a document left when it was killed: it is sealed with what key there was."""
    for path in layout.instances.glob(".*.json.*"):
        path.unlink(missing_ok=True)
