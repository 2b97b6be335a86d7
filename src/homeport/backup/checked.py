"""Documents that carry a checksum of themselves, so that a bit that flipped in one is not taken for what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

KEY = "sha256"


def text(document: Mapping[str, Any]) -> str:
    """As JSON, of one line. The document has no key :data:`KEY` of its own."""
    return json.dumps({**document, KEY: _digest(document)})


def document(found: Any) -> dict[str, Any]:
    """What :func:`text` was given. One without a checksum was made before there were any, and is taken as it is.

    Raises ValueError for one that is not what was written, TypeError for what is no document.
    """
    if not isinstance(found, dict):
        raise TypeError("no document")
    left = {k: v for k, v in found.items() if k != KEY}
    if KEY in found and found[KEY] != _digest(left):
        raise ValueError("it is not what was written")
    return left


def _digest(document: Mapping[str, Any]) -> str:
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
