"""Whether the edge's workers, which run as a user of their own under root, reach the socket for webhooks."""

import os
import pwd
from pathlib import Path


def blocked(directory: Path, user: str) -> Path | None:
    """The first directory on the way that ``user`` may not enter; None when there is none, or no user of their own.

    By the mode bits alone: other rules of the system may say more.
    """
    if not user:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    groups = os.getgrouplist(user, entry.pw_gid)
    for place in (*reversed(directory.resolve().parents), directory.resolve()):
        status = place.stat()
        bit = 0o100 if status.st_uid == entry.pw_uid else 0o010 if status.st_gid in groups else 0o001
        if not status.st_mode & bit:
            return place
    return None
