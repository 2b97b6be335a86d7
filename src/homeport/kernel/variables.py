"""What an environment variable may be called, and how long its value may be."""

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED = ("PORT", "PATH")
RESERVED_PREFIX = "HOMEPORT_"
"""Homeport sets them itself."""
BY_COMMIT_ONLY = ("HOME", "LD_PRELOAD", "LD_LIBRARY_PATH")
"""They change what code runs: homeport.toml may set them, a setting made by hand or a secret may not."""
LARGEST_VALUE = 64 * 1024
"""Bytes of a value, wherever it comes from: Linux takes at most 128 KB for one variable, its name included."""


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """Whether not even homeport.toml may set it."""
    return name in RESERVED or name.startswith(RESERVED_PREFIX)


def is_given(name: str) -> bool:
    """Whether people may not set it by hand, nor as a secret."""
    return is_reserved(name) or name in BY_COMMIT_ONLY
