"""Files of a whole Homeport, on an empty data directory, from a repository and its passphrase alone.

All is fetched and looked at beside, in ``.recovering`` of the data directory, then renamed into place; the file
that makes the directory Homeport's comes last. A recovery that was cut off goes on with renaming where it had
begun to, and else begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from homeport.backup.files import carried, proving
from homeport.backup.files.errors import NO_SNAPSHOT, NOT_EMPTY, NOT_PROVEN, WORKING
from homeport.backup.files.model import HOMEPORT, Layout, Limits, Repository, Run, Snapshot
from homeport.backup.files.plan import SETTINGS, candidates, worth_trying
from homeport.backup.files.records import Records
from homeport.backup.files.restic import Restic
from homeport.backup.files.restoring import Restored, fetch
from homeport.backup.files.sealing import recipient
from homeport.backup.files.service import SPEAKS_AGAINST
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment
from homeport.system import files, process

TRIED = 5
"""Of a series, the newest and those before, before it counts as lost (:func:`worth_trying`)."""


@dataclass(frozen=True, slots=True)
class Recovered:
    series: tuple[Restored, ...]
    """What was brought back: of each series the newest that is what was backed up. Their trees are gone. () where
    only the renaming of a recovery that was cut off was left to do."""
    passed_over: tuple[str, ...]
    """Newer backups that are damaged, and what is wrong with them."""
    lost: tuple[str, ...]
    """Series of which none of the last could be restored: storage of an app that is missing now."""
    dumps: tuple[Snapshot, ...]
    """The newest dump of each database, which is not brought back here."""
    former: str
    """Where the data directory was: paths within releases still say so."""


@dataclass(slots=True)
class _Way:
    """Directories of a recovery that is under way."""

    data: Path
    top: Path = field(init=False)

    def __post_init__(self) -> None:
        self.top = Layout(self.data).recovering

    @property
    def lock(self) -> Path:
        return self.top / "lock"

    @property
    def work(self) -> Layout:
        """Where restic works, so that the data directory stays empty."""
        return Layout(self.top / "work")

    @property
    def fetched(self) -> Path:
        return self.top / "fetched"

    @property
    def tree(self) -> Path:
        return self.top / "tree"

    @property
    def placing(self) -> Path:
        """There once all of the tree is ready: what lies in the data directory besides may be ours."""
        return self.top / "placing"


def recover(
    data_dir: Path,
    repository: Repository,
    clock: Clock,
    *,
    limits: Limits | None = None,
    before: datetime | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    on_former: Callable[[str], None] = lambda _: None,
    on_fetched: Callable[[Recovered], None] = lambda _: None,
) -> Recovered:
    """Bring back state, config, secrets, releases, repositories and storage. ``repository`` is opened by the
    passphrase. ``before``: from backups of that moment or older. ``on_former`` is told where the data directory was,
    as soon as that is known. ``on_fetched`` is told what comes back, before the first of it is put into place.

    Nothing is started. Raises ``backup.directory_not_empty``, ``.no_snapshot`` where there is none of Homeport's
    own, ``.not_unsealed``, ``.not_as_backed_up``, and what restic may.
    """
    way = _Way(data_dir)
    data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _alone(way):
        _check_empty(way)
        if not way.placing.exists():
            _clear(way)
            restic = Restic(repository, way.work, clock, limits or Limits(), yielding=False)
            _unlock(restic, way)
            try:
                recovered = _fetch_all(way, restic, before, on_step, on_former)
            finally:
                # One that found something broken was killed, and so is one that is interrupted.
                _unlock(restic, way)
            _set_recipient(way, repository)
            on_fetched(recovered)
            files.write_atomic(way.placing, "")
        else:
            recovered = Recovered((), (), (), (), "")
        on_step("put everything into place")
        _put_into_place(way)
    files.remove_tree(way.top, within=data_dir)
    return recovered


@contextmanager
def _alone(way: _Way) -> Iterator[None]:
    present = [p.name for p in way.data.iterdir()]
    if present and way.top.name not in present:
        raise _not_empty(way, present)
    way.top.mkdir(mode=0o700, exist_ok=True)
    try:
        with files.lock(way.lock, what="recover"):
            process.kill_family(str(way.work.data), way.work.mark)
            yield
    except HomeportError as e:
        if e.type is not files.LOCKED:
            raise
        raise WORKING.error(f"cannot recover into {way.data}: another recovery is under way") from e


def _check_empty(way: _Way) -> None:
    """But for what a recovery that was cut off has put there itself."""
    present = [p.name for p in way.data.iterdir() if p != way.top]
    if present and not way.placing.exists():
        raise _not_empty(way, present)


def _not_empty(way: _Way, present: list[str]) -> HomeportError:
    return NOT_EMPTY.error(
        f"cannot recover into {way.data}: it is not empty",
        hint="name an empty directory with --data-dir, or move what is there away; where a recovery into it has ended "
        "and something is missing: homeport up, then homeport restore --cluster NAME --plan, or homeport deploy",
        details=sorted(present)[:10],
    )


def _clear(way: _Way) -> None:
    """But for which restics were started here: a lock that one left is known as ours by that."""
    started = Records(way.work).runs()
    for path in (way.fetched, way.tree, way.top / "work"):
        files.remove_tree(path, within=way.top)
    way.tree.mkdir(mode=0o700)
    way.work.data.mkdir(mode=0o700)
    _keep_started(started, way.work)


def _keep_started(started: Iterable[Run], layout: Layout) -> None:
    records = Records(layout)
    records.prepare()
    for run in started:
        records.keep_run(run)


def _unlock(restic: Restic, way: _Way) -> None:
    """Remove locks that restics which were killed here have left. What is wrong with the repository is told
    otherwise."""
    if Records(way.work).runs():
        with suppress(HomeportError):
            restic.unlock_own()


def _fetch_all(
    way: _Way,
    restic: Restic,
    before: datetime | None,
    on_step: Callable[[str], None],
    on_former: Callable[[str], None],
) -> Recovered:
    found, _ = restic.snapshots()
    series = candidates(found, before)
    if HOMEPORT not in series:
        oldest = min((s.at for s in found if s.series == HOMEPORT and s.is_finished), default=None)
        if oldest is not None and before is not None:
            raise NO_SNAPSHOT.error(
                f"cannot recover what was at {format_moment(before)} from repository {restic.repository.name}: its oldest "
                f"backup of a Homeport is of {format_moment(oldest)}",
                hint="homeport recover without --before brings back the newest; or name that moment, or a later one",
            )
        raise NO_SNAPSHOT.error(
            f"cannot recover from repository {restic.repository.name}: it has no backup of a Homeport",
            hint="homeport recover needs the repository's own address, prefix included",
        )
    dumps = tuple(snapshots[0] for name, snapshots in sorted(series.items()) if name.count(".") == 2)
    back: list[Restored] = []
    passed_over: list[str] = []
    lost: list[str] = []
    # Homeport's own first: without it the rest is of no use.
    for name in sorted((s for s in series if s.count(".") < 2), key=lambda s: (s != HOMEPORT, s)):
        on_step(f"bring back {name}")
        restored, wrong = _newest_whole(way, restic, worth_trying(series[name], TRIED))
        passed_over += wrong
        if restored is not None:
            _merge(restored.tree, way.tree)
            back.append(restored)
            if name == HOMEPORT:
                on_former(restored.data_dir)
        elif name != HOMEPORT:
            lost.append(name)
        else:
            raise NOT_PROVEN.error(
                f"cannot recover from repository {restic.repository.name}: no backup of Homeport's own is whole",
                hint="recover from another repository",
                details=wrong,
            )
    on_step("bring back what is known of backups")
    try:
        carried.bring_back(restic, way.tree, passed_over.append)
    except HomeportError as e:
        # All that serves is there: the next proofs find out anew.
        passed_over.append(f"records of backups: {proving.told(e)}")
    return Recovered(tuple(back), tuple(passed_over), tuple(lost), dumps, back[0].data_dir)


def _newest_whole(
    way: _Way, restic: Restic, snapshots: tuple[Snapshot, ...]
) -> tuple[Restored | None, list[str]]:
    wrong: list[str] = []
    for snapshot in snapshots:
        tree = way.fetched / snapshot.id[:12]
        try:
            return fetch(restic, snapshot, tree, passphrase=restic.repository.password), wrong
        except HomeportError as e:
            if e.code not in SPEAKS_AGAINST and e.type is not NOT_PROVEN:
                raise
            wrong.append(f"{snapshot.series} of {format_moment(snapshot.at)}: {proving.told(e)}")
            files.remove_tree(tree, within=way.top)
    return None, wrong


def _merge(from_: Path, into: Path) -> None:
    """Series share directories, such as ``storage/shop``, and no file."""
    for entry in sorted(from_.iterdir()):
        target = into / entry.name
        if entry.is_dir() and not entry.is_symlink() and target.is_dir():
            _merge(entry, target)
        else:
            os.rename(entry, target)


def _set_recipient(way: _Way, repository: Repository) -> None:
    """So that the next backup can be made, sealed for the same passphrase."""
    layout = Layout(way.tree)
    # And where this recovery is cut off in the end, the next backup knows its locks.
    _keep_started(Records(way.work).runs(), layout)
    files.write_atomic(layout.recipient, recipient(repository.password).text(), mode=0o600)


def _put_into_place(way: _Way) -> None:
    for entry in sorted(way.tree.iterdir(), key=lambda p: (p.name == SETTINGS, p.name)):
        os.rename(entry, way.data / entry.name)
