"""``homeport.json``: what a data directory was started with; its presence makes a directory ours."""

import json
from dataclasses import dataclass
from pathlib import Path

from homeport.edge.model import Bind
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.system.files import read_json, write_atomic

LAYOUT = 1
"""The version of the data directory's layout."""
FILE = "homeport.json"
LOCK = "up.lock"
"""Held by a homeport up; where it is, an earlier one began to make the directory ours."""

RECOVERING = "recovering.json"
"""There while a recovery is under way, and what it has done so far."""
FETCHING = ".recovering"
"""What a recovery has fetched, until it is put into place."""

NOT_OURS = declare(
    "main.directory_not_ours", Kind.CONFLICT, "The data directory holds files that are not Homeport's."
)
NEWER = declare("main.newer_directory", Kind.CONFLICT, "The data directory was made by a newer Homeport.")
BAD_ADDRESS = declare("main.bad_address", Kind.INVALID, "An ADDRESS:PORT cannot be read.")
UNRECOVERED = declare(
    "main.recovery_unfinished",
    Kind.CONFLICT,
    "A recovery into the data directory did not come to its end yet.",
)
CANNOT_MAKE = declare(
    "main.cannot_make_directory", Kind.FAILED, "The data directory cannot be made or written."
)


@dataclass(frozen=True, slots=True)
class Settings:
    http: Bind
    https: Bind | None


def parse_bind(text: str) -> Bind:
    """``127.0.0.1:8080``, ``[::1]:8080`` or ``:80`` (every address). Raises ``main.bad_address``."""
    address, colon, port = text.rpartition(":")
    bracketed = address.startswith("[") and address.endswith("]")
    address = address[1:-1] if bracketed else address or "0.0.0.0"
    # Labels without letters, such as "..", are none that a resolver takes.
    plain = all(address.split(".")) and all(c.isalnum() or c in ".:-" for c in address)
    plain = plain and bracketed == (":" in address)
    if not colon or not plain or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise BAD_ADDRESS.error(
            f"cannot listen on {text!r}", hint="write ADDRESS:PORT, such as 127.0.0.1:8080"
        )
    return Bind(address, int(port))


def format_bind(bind: Bind) -> str:
    return f"[{bind.address}]:{bind.port}" if ":" in bind.address else f"{bind.address}:{bind.port}"


def load(data_dir: Path) -> Settings | None:
    """None for a directory that Homeport never used. Raises on a newer or broken one."""
    path = data_dir / FILE
    if not path.exists():
        return None
    document = read_json(path)
    layout = document.get("layout") if isinstance(document, dict) else None
    if isinstance(layout, int) and layout > LAYOUT:
        raise NEWER.error(
            f"cannot use {data_dir}: it was made by a newer Homeport (layout {layout}, here {LAYOUT})",
            hint="install the newer Homeport again, or use another --data-dir",
        )
    try:
        https = document["https"]
        return Settings(parse_bind(document["http"]), parse_bind(https) if https else None)
    except (KeyError, TypeError, AttributeError, HomeportError) as e:
        raise NOT_OURS.error(
            f"cannot use {data_dir}: its {FILE} is not one of Homeport's", hint="use another --data-dir"
        ) from e


def save(data_dir: Path, settings: Settings) -> None:
    document = {
        "layout": LAYOUT,
        "http": format_bind(settings.http),
        "https": format_bind(settings.https) if settings.https else None,
    }
    write_atomic(data_dir / FILE, json.dumps(document, indent=2) + "\n")


def claim(data_dir: Path) -> None:
    """Make the data directory, or see that it is empty or ours. Nothing that is there is touched."""
    try:
        data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        entries = [e.name for e in data_dir.iterdir()]
    except OSError as e:
        raise CANNOT_MAKE.error(
            f"cannot use {data_dir}: {e.strerror}",
            hint="choose another place with --data-dir or HOMEPORT_HOME",
        ) from e
    if FILE not in entries and (FETCHING in entries or RECOVERING in entries):
        raise UNRECOVERED.error(
            f"cannot start: a recovery into {data_dir} did not come to its end",
            hint="homeport recover again, as it was called; or use another --data-dir",
        )
    if entries and FILE not in entries and LOCK not in entries:
        raise NOT_OURS.error(
            f"cannot use {data_dir}: it holds {entries[0]!r} and no {FILE}",
            hint="Homeport wants an empty directory, or one of its own",
        )


def check_recovered(data_dir: Path) -> None:
    """Raises ``main.recovery_unfinished`` where databases have not been brought back yet."""
    marker = data_dir / RECOVERING
    if marker.exists() and not read_json(marker).get("placed"):
        raise UNRECOVERED.error(
            f"cannot start: a recovery into {data_dir} did not come to its end",
            hint="homeport recover again, as it was called; it goes on where it was",
        )
