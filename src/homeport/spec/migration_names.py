"""Names of migration files, in dbmate's format. Pure."""

import re
from datetime import datetime

LARGEST = 10_000_000
"""Bytes of a file; what is larger is data, not a change of the schema."""
LONGEST_NAME = 200


def new_name(words: str, now: datetime) -> str | None:
    """``20261120120000_add_orders.sql``; None where the words give no name. ``now`` is in UTC."""
    slug = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return f"{now:%Y%m%d%H%M%S}_{slug}.sql" if slug and len(slug) <= LONGEST_NAME else None


def template(*, contract: bool = False) -> str:
    """A new, empty migration."""
    return ("-- homeport:contract\n" if contract else "") + "-- migrate:up\n\n\n-- migrate:down\n\n"
