"""How large a cluster is, from the machine. Pure; bytes in, PostgreSQL's settings out.

Databases share the machine with apps: half of its memory is theirs, in equal parts for each cluster
(the *share*). Of a share of m bytes:

======================  =========================================  ==========================
setting                 rule                                       where it comes from
======================  =========================================  ==========================
max_connections         one for each 8 MB, 40 to 200               a backend takes 5 to 10 MB
shared_buffers          a quarter, 32 MB to 8 GB                   PostgreSQL's manual, 20.4
effective_cache_size    three quarters                             what the kernel caches besides
work_mem                (m - shared_buffers) / (2 max_connections),  two sorts in each connection at once
                        1 to 64 MB
maintenance_work_mem    a sixteenth, 16 MB to 1 GB                 one VACUUM or CREATE INDEX at a time
======================  =========================================  ==========================
"""

from collections.abc import Sequence
from dataclasses import dataclass

MB = 1024 * 1024
GB = 1024 * MB
RESERVED = 5
"""Connections that only the superuser has: the control plane's, and a person's when all others are taken."""
UPKEEP = 5
"""Connections beside the app's that each database may have: migrations, maintenance, a shell."""


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


@dataclass(frozen=True, slots=True)
class Sizes:
    max_connections: int
    shared_buffers: int
    effective_cache_size: int
    work_mem: int
    maintenance_work_mem: int
    max_wal_size: int
    workers: int

    @property
    def for_apps(self) -> int:
        """Connections that poolers and apps may have together."""
        return self.max_connections - RESERVED - UPKEEP

    def settings(self) -> dict[str, str]:
        """As PostgreSQL reads them."""
        return {
            "max_connections": str(self.max_connections),
            "superuser_reserved_connections": str(RESERVED),
            "shared_buffers": _kb(self.shared_buffers),
            "effective_cache_size": _kb(self.effective_cache_size),
            "work_mem": _kb(self.work_mem),
            "maintenance_work_mem": _kb(self.maintenance_work_mem),
            "min_wal_size": _kb(min(80 * MB, self.max_wal_size // 2)),
            "max_wal_size": _kb(self.max_wal_size),
            "max_worker_processes": str(max(8, self.workers)),
            "max_parallel_workers": str(self.workers),
            "max_parallel_workers_per_gather": str(_between(0, self.workers // 2, 4)),
            "max_parallel_maintenance_workers": str(_between(0, self.workers // 2, 4)),
        }


def _kb(size: int) -> str:
    return f"{size // 1024}kB"


def sizes(memory: int, cores: int, clusters: int = 1) -> Sizes:
    """``memory``: bytes that this machine, or our control group, has. ``clusters``: how many share it."""
    share = memory // 2 // max(1, clusters)
    connections = _between(40, share // (8 * MB), 200)
    buffers = _between(32 * MB, share // 4, 8 * GB)
    return Sizes(
        max_connections=connections,
        shared_buffers=buffers,
        effective_cache_size=max(2 * buffers, share * 3 // 4),
        work_mem=_between(1 * MB, max(0, share - buffers) // (2 * connections), 64 * MB),
        maintenance_work_mem=_between(16 * MB, share // 16, 1 * GB),
        max_wal_size=_between(256 * MB, share, 4 * GB),
        workers=max(1, cores),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one database asks for. ``connections`` None: by the rule, four an instance, 5 to 20."""

    database: str
    replicas: int
    connections: int | None = None

    @property
    def by_rule(self) -> int:
        return _between(5, 4 * self.replicas, 20)


class TooManyAsked(ValueError):
    """``asked`` connections do not fit into ``there``."""

    def __init__(self, asked: int, there: int) -> None:
        super().__init__(f"{asked} of {there}")
        self.asked = asked
        self.there = there


def share_out(wanted: Sequence[Wanted], there: int) -> dict[str, int]:
    """Connections by database: what was asked for by number is kept, the others share the rest.

    They shrink in proportion when it is short, to 2 at least. Raises TooManyAsked.
    """
    fixed = {w.database: w.connections for w in wanted if w.connections is not None}
    ruled = {w.database: w.by_rule for w in wanted if w.connections is None}
    left = there - sum(fixed.values())
    least = 2 * len(ruled)
    if left < least:
        raise TooManyAsked(sum(fixed.values()) + least, there)
    total = sum(ruled.values())
    if total > left:
        spare = left - least
        over = total - least
        ruled = {name: 2 + (size - 2) * spare // over for name, size in ruled.items()}
    return {**fixed, **ruled}
