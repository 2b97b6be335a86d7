"""Files touched with another user's rights: what an app may not write, we do not write for it."""

import contextlib
import os
from collections.abc import Iterator

_ASK = 0xFFFFFFFF
"""Changes nothing, so that what is in force is answered."""


@contextlib.contextmanager
def acting_as(user: int, group: int) -> Iterator[None]:
    """Within the block, this thread opens and makes files as ``user``; nothing changes where we are not root.

    A link that an app put in its directory leads no further than the app itself could go. Other threads are
    not affected, but for those that are started within. Raises PermissionError where the system does not let us.
    """
    if os.geteuid() != 0:
        yield
        return
    import ctypes

    libc = ctypes.CDLL(None)
    for call in (libc.setfsuid, libc.setfsgid):
        call.argtypes, call.restype = (ctypes.c_uint32,), ctypes.c_uint32
    before = libc.setfsuid(_ASK), libc.setfsgid(_ASK)
    try:
        # The group first: to change it takes a right that goes with the user.
        libc.setfsgid(group)
        libc.setfsuid(user)
        if (libc.setfsuid(_ASK), libc.setfsgid(_ASK)) != (user, group):
            raise PermissionError(f"cannot act as user {user}")
        yield
    finally:
        libc.setfsuid(before[0])
        libc.setfsgid(before[1])
