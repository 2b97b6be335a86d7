"""Brings back what was deleted or overwritten in a bucket that keeps versions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from homeport.backup.locks import plan
from homeport.backup.locks.errors import NO_VERSIONS, NOT_ALL_BACK
from homeport.backup.locks.plan import CopyBack, RemoveMarker

if TYPE_CHECKING:
    from homeport.backup.locks.bucket import Bucket

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Undeleted:
    deleted: int
    """Files that were deleted."""
    overwritten: int
    files: tuple[str, ...]
    """Some of them: keys of the bucket."""
    done: bool
    """False: it was only planned."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def undelete(name: str, bucket: Bucket, prefix: str, since: datetime, *, only_plan: bool) -> Undeleted:
    """Of the repository ``name``, below ``prefix``. Cut off anywhere, it goes on when it is asked for again.

    Raises ``backup.no_versions``, ``backup.not_all_undeleted``, and what the store raises.
    """
    if not bucket.keeps_versions():
        raise NO_VERSIONS.error(
            f"cannot bring back files in {name}: its bucket keeps no versions, so what was deleted is gone",
            hint="another repository; for the next time, a bucket with object lock and --lock",
        )
    steps = plan.undelete(bucket.entries(prefix), since, prefix)
    markers = [s.marker for s in steps if isinstance(s, RemoveMarker)]
    versions = [s.version for s in steps if isinstance(s, CopyBack)]
    failed: list[str] = []
    if not only_plan:
        failed = bucket.remove_markers(markers) + bucket.copy_back(versions)
    if failed:
        raise NOT_ALL_BACK.error(
            f"cannot bring back {len(failed)} of {len(steps)} files in {name}",
            hint="the access key needs s3:DeleteObjectVersion, for delete markers; then again",
            details=failed[:SHOWN],
        )
    deleted = {m.key for m in markers}
    keys = sorted(deleted | {v.key for v in versions})
    return Undeleted(len(deleted), len(versions), tuple(keys[:SHOWN]), not only_plan)
