"""What a secret may be called and hold. Pure; no answer repeats a value."""

from homeport.kernel.variables import LARGEST_VALUE, is_given, is_name


def name_problem(name: str) -> str | None:
    """Why a secret cannot have this name, or None.

    A name that is none is not repeated: it may be a value in the wrong place.
    """
    if not is_name(name):
        return (
            "a name is made of A-Z, a-z, 0-9 and _, does not begin with a digit, and has at most 128 of them"
        )
    if is_given(name):
        return f"{name} is given by Homeport or the system"
    return None


def value_problem(value: str) -> str | None:
    """Why a secret cannot have this value, as words after "it", or None."""
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    if not value:
        return "is empty"
    if size > LARGEST_VALUE:
        return f"has {size:,} bytes; at most 64 KB ({LARGEST_VALUE:,} bytes) are allowed"
    if "\0" in value:
        return "holds a NUL byte, which no variable can"
    return None
