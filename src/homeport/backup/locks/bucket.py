"""A bucket with versions and object lock. In children alone: what it imports takes memory (some 25 MB)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from urllib.parse import urlsplit

from minio import Minio
from minio.commonconfig import ENABLED, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error
from minio.objectlockconfig import DAYS, YEARS, ObjectLockConfig
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from homeport.backup.files.errors import NOT_ANSWERING, STORE_FAILED
from homeport.backup.files.errors import REFUSED as STORE_REFUSED
from homeport.backup.files.model import S3Place
from homeport.backup.locks.errors import NO_OBJECT_LOCK, NOT_LOCKED
from homeport.backup.locks.model import Entry, Lock

AT_ONCE = 8
"""Requests; each waits for the store."""
MANY = 1000
"""Deletions in a request, as S3 has it."""
DENIED = ("AccessDenied", "Forbidden")
WITHOUT = ("ObjectLockConfigurationNotFoundError", "InvalidBucketState", "NoSuchObjectLockConfiguration")
"""A bucket that was made without."""
UNKNOWN = ("NotImplemented", "MethodNotAllowed", "InvalidRequest", "MalformedXML")
"""A store that knows none."""
WRONG = ("NoSuchBucket", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthorizationHeaderMalformed")
CHECK = "homeport-lock-check"
DAYS_OF_YEAR = 365
_Do = Callable[[Entry], None]


class Bucket:
    """``name``: the repository's, for people. Calls raise ``backup.store_refused``, ``backup.store_not_answering``
    and ``backup.store_failed``."""

    def __init__(self, name: str, place: S3Place) -> None:
        where = urlsplit(place.endpoint)
        self._name = name
        self._bucket = place.bucket
        self._place = place
        self._pool = PoolManager(
            timeout=Timeout(connect=10, read=60),
            maxsize=AT_ONCE,
            retries=Retry(2, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504)),
            ca_certs=str(place.ca_file) if place.ca_file else None,
        )
        self._client = Minio(
            where.netloc,
            place.key.reveal(),
            place.secret_key.reveal(),
            secure=where.scheme == "https",
            region=place.region or "us-east-1",
            http_client=self._pool,
        )

    def __enter__(self) -> Bucket:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def lock(self) -> Lock | None:
        """What it does to all that is written; None: nothing. Raises ``backup.no_object_lock``."""
        with self._asking("look at the lock of"):
            found = self._client.get_object_lock_config(self._bucket)
        if found.mode is None or found.duration is None:
            return None
        years = found.duration_unit == YEARS
        return Lock(found.mode, found.duration * (DAYS_OF_YEAR if years else 1))

    def set_lock(self, lock: Lock | None) -> None:
        """From now on. Raises ``backup.no_object_lock``."""
        with self._asking("lock"):
            if lock is None:
                self._client.delete_object_lock_config(self._bucket)
            else:
                self._client.set_object_lock_config(
                    self._bucket, ObjectLockConfig(lock.mode, lock.days, DAYS)
                )

    def check(self, prefix: str) -> None:
        """Write a small object and try to remove it for good. Raises ``backup.not_locked`` where that works."""
        key = f"{prefix}{CHECK}"
        with self._asking("check the lock of"):
            text = b"Homeport looks here whether what is written is locked.\n"
            made = self._client.put_object(self._bucket, key, BytesIO(text), len(text))
            refused = made.version_id is not None
            if refused:
                try:
                    self._client.remove_object(self._bucket, key, version_id=made.version_id)
                    refused = False
                except S3Error as e:
                    if e.code not in (*DENIED, "ObjectLocked", "InvalidRequest"):
                        raise
        if not refused:
            raise NOT_LOCKED.error(
                f"cannot lock {self._name}: its store says that bucket {self._bucket} is locked, "
                "and what was written there could be removed for good at once",
                hint="a store that has object lock, with versions; a key without s3:BypassGovernanceRetention",
            )

    def keeps_versions(self) -> bool:
        """Or did, at some time."""
        with self._asking("look at the versions of"):
            return self._client.get_bucket_versioning(self._bucket).status in (ENABLED, SUSPENDED)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """All versions and delete markers of objects whose keys begin with ``prefix``."""
        with self._asking("list the versions in"):
            for o in self._client.list_objects(
                self._bucket, prefix=prefix or None, recursive=True, include_version=True
            ):
                if o.object_name is not None and o.last_modified is not None:
                    yield Entry(
                        o.object_name,
                        o.version_id or "null",
                        o.last_modified,
                        o.is_delete_marker,
                        str(o.is_latest).lower() == "true",
                        o.size or 0,
                        o.etag or "",
                    )

    def has(self, prefix: str) -> bool:
        """Whether there is an object whose key begins with ``prefix``."""
        with self._asking("look into"):
            return any(True for _ in self._client.list_objects(self._bucket, prefix=prefix, recursive=True))

    def remove(self, prefix: str) -> None:
        """All objects whose keys begin with ``prefix``; a bucket with versions keeps those behind delete markers."""
        with self._asking("remove files in"):
            there = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            keys = [DeleteObject(o.object_name) for o in there if o.object_name is not None]
            for error in self._client.remove_objects(self._bucket, keys):
                raise STORE_FAILED.error(f"cannot remove files in {self._name}: {error.message}")

    def extend(self, entries: Sequence[Entry], mode: str, until: datetime) -> list[str]:
        """Lock them until then; of which that failed, with why."""
        return self._each(entries, lambda e: self._extend(e, mode, until))

    def _extend(self, entry: Entry, mode: str, until: datetime) -> None:
        try:
            self._client.set_object_retention(self._bucket, entry.key, Retention(mode, until), entry.version)
        except S3Error as e:
            if e.code not in DENIED:
                raise
            # It is refused for what is locked for longer already.
            held = self._client.get_object_retention(self._bucket, entry.key, entry.version)
            if held is None or held.retain_until_date < until:
                raise

    def remove_markers(self, markers: Sequence[Entry]) -> list[str]:
        """Of which it failed, with why."""
        failed: list[str] = []
        with self._asking("bring back files in"):
            for n in range(0, len(markers), MANY):
                some = [DeleteObject(m.key, m.version) for m in markers[n : n + MANY]]
                failed += [f"{e.name}: {e.message}" for e in self._client.remove_objects(self._bucket, some)]
        return failed

    def copy_back(self, versions: Sequence[Entry]) -> list[str]:
        """Of which it failed, with why."""

        def copy(e: Entry) -> None:
            source = CopySource(self._bucket, e.key, version_id=e.version)
            self._client.copy_object(self._bucket, e.key, source)

        return self._each(versions, copy)

    def _each(self, entries: Sequence[Entry], do: _Do) -> list[str]:
        def one(entry: Entry) -> str:
            try:
                do(entry)
            except S3Error as e:
                return f"{entry.key}: {e.message}"
            return ""

        with self._asking("work in"), ThreadPoolExecutor(AT_ONCE) as pool:
            return [said for said in pool.map(one, entries) if said]

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except S3Error as e:
            raise self._error(doing, e) from None
        except HTTPError as e:
            raise NOT_ANSWERING.error(
                f"cannot {doing} {self._name}: its store does not answer",
                hint=f"is {self._place.endpoint} reached from here?",
                details=[str(e)[:300]],
            ) from None
        except (InvalidResponseError, MinioException, ValueError) as e:
            raise STORE_FAILED.error(
                f"cannot {doing} {self._name}: its store answered with an error", details=[str(e)[:300]]
            ) from None

    def _error(self, doing: str, e: S3Error) -> Exception:
        if e.code in WITHOUT:
            return NO_OBJECT_LOCK.error(
                f"cannot {doing} {self._name}: bucket {self._bucket} was made without object lock",
                hint="object lock is switched on when a bucket is made: make another one with it, and add that",
            )
        if e.code in UNKNOWN:
            return NO_OBJECT_LOCK.error(
                f"cannot {doing} {self._name}: its store knows no object lock",
                hint="a store that has it, such as Amazon S3, Backblaze B2, Wasabi or SeaweedFS",
                details=[f"{e.code}: {e.message}"],
            )
        if e.code in (*DENIED, *WRONG):
            return STORE_REFUSED.error(
                f"cannot {doing} {self._name}: its store refuses it ({e.code})",
                hint="look at the access key, what it may do, and the bucket",
                details=[str(e.message)],
            )
        return STORE_FAILED.error(
            f"cannot {doing} {self._name}: its store answered with an error",
            details=[f"{e.code}: {e.message}"],
        )
