"""``homeport recover``: a whole Homeport on an empty data directory, from a repository and its passphrase alone.

What was done is in ``recovering.json`` of the data directory, which comes with the first file that is put into
place and goes with the last step. So a recovery that was cut off anywhere goes on when it is called again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from homeport.backup.errors import BAD_REPOSITORY
from homeport.backup.files import model as files_model
from homeport.backup.files import recovery
from homeport.backup.files.errors import NO_REPOSITORY, NOT_EMPTY, NOT_OPENED, WORKING
from homeport.backup.files.service import FileBackups
from homeport.backup.locks.plan import prefix_of
from homeport.backup.locks.undeleting import undelete
from homeport.backup.repositories import MACHINE, Place, Repositories, check_place, files_place, secret_name
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine, parse_time, text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.secret import Secret
from homeport.kernel.units import format_moment
from homeport.main import lifecycle, settings
from homeport.main.recovering_clusters import bring_back
from homeport.main.recovering_up import serve_again, take_over
from homeport.main.settings import RECOVERING
from homeport.rollout.backups import moved, recovered
from homeport.system import files
from homeport.system.clock import RealClock
from homeport.system.seal import KEY_FILE

OTHER = declare(
    "main.other_recovery",
    Kind.CONFLICT,
    "A recovery from another place, or of another moment, is under way in the data directory.",
)
NOT_MINE = declare(
    "main.not_this_repository",
    Kind.FAILED,
    "A repository holds the backup of a Homeport that does not know this repository.",
)
FUTURE = declare("main.recover_from_future", Kind.INVALID, "The moment to recover has not come yet.")
HINTS = {
    NOT_OPENED.code: "it is the passphrase that homeport backup repository add asked for, or the one set last",
    NO_REPOSITORY.code: "name what homeport backup repository add was given: files and postgresql are below it",
}
LOCK = ".recovering.lock"

Told = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Recovery:
    """One that is under way. What is put into the lists is told at its end."""

    data_dir: Path
    place: Place
    keys: Mapping[str, str]
    passphrase: Secret
    before: datetime | None
    told: Told
    clock: RealClock
    known: dict[str, Any] = field(default_factory=dict)
    """What ``recovering.json`` says."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """What could not be brought back."""
    notes: list[str] = field(default_factory=list)
    """What came back otherwise than it was."""
    todo: list[str] = field(default_factory=list)
    """What a person has to do."""
    _began: float = 0.0

    @property
    def former(self) -> str:
        """Where the data directory was; "" where it was here, or that is not known any more."""
        found = str(self.known.get("files", {}).get("former", ""))
        return found if found != str(self.data_dir) else ""

    @property
    def marker(self) -> Path:
        return self.data_dir / RECOVERING

    def begin(self, step: str) -> None:
        self._began = self.clock.monotonic()
        self.steps.append({"step": step, "state": "running", "seconds": 0.0, "said": ""})
        self.told(self.steps[-1])

    def end(self, said: str = "", *, failed: bool = False) -> None:
        """Of the step that runs, if one does."""
        if not self.steps or self.steps[-1]["state"] != "running":
            return
        seconds = round(self.clock.monotonic() - self._began, 3)
        self.steps[-1] |= {"state": "failed" if failed else "passed", "seconds": seconds, "said": said}
        self.told(self.steps[-1])

    def keep(self, **values: Any) -> None:
        self.known |= values
        files.write_atomic(self.marker, self.text(), mode=0o600)

    def text(self) -> str:
        return json.dumps(self.known, indent=1) + "\n"


def recover(
    data_dir: Path,
    place: Mapping[str, str],
    keys: Mapping[str, str],
    passphrase: str,
    *,
    before: datetime | None = None,
    undelete_since: datetime | None = None,
    http: str | None = None,
    https: str | None = None,
    former_is_gone: bool = False,
    told: Told = lambda _: None,
) -> dict[str, Any]:
    """Bring everything back and have it serve; what was done, what could not be brought back, what is left to do.

    ``keys``: "key" and "secret_key" of an S3-compatible store. ``former_is_gone``: the machine that was backed up
    will never come back, so this one backs up where it did. ``undelete_since``: what was deleted or overwritten in
    the store since then comes back first, where it keeps versions. Raises what stands in the way of all; what concerns one
    cluster or one app alone is told in the result.
    """
    check_first(data_dir, place)
    r = Recovery(data_dir, Place(**place), keys, Secret(passphrase), before, told, RealClock())
    for address in (http, https):
        if address:
            settings.parse_bind(address)
    if before is not None and before > r.clock.now():
        raise FUTURE.error("cannot recover what was at that moment: it has not come yet")
    began = r.clock.monotonic()
    try:
        if undelete_since is not None:
            _undelete(r, undelete_since)
        _files(r)
        with files.lock(data_dir / LOCK, what="recover"):
            _settle(r)
            bring_back(r)
            _tell_new_path(r)
            serving = serve_again(r, http, https)
            take_over(r, former_is_gone=former_is_gone)
            r.marker.unlink(missing_ok=True)
    except HomeportError as e:
        r.end(e.sentence, failed=True)
        if r.marker.exists() and "homeport recover" not in e.hint:
            e.hint = "; ".join(
                filter(None, (e.hint, "homeport recover again, as it was called, goes on here"))
            )
        raise
    (data_dir / LOCK).unlink(missing_ok=True)
    return {
        "data_dir": str(data_dir),
        "ok": not r.lost,
        "seconds": round(r.clock.monotonic() - began, 3),
        "steps": r.steps,
        "as_of": _as_of(r),
        "serving": serving,
        "lost": r.lost,
        "notes": r.notes,
        "todo": r.todo,
    }


def check_first(data_dir: Path, place: Mapping[str, str]) -> None:
    """What can be seen before anybody is asked for a passphrase. Raises ``backup.bad_repository``,
    ``.no_repository``, ``.directory_not_empty`` where a Homeport runs there."""
    where = Place(**place)
    check_place(where, "recover")
    if where.path and not os.path.isfile(f"{where.path}/files/config") and _may_look(where.path):
        raise NO_REPOSITORY.error(
            f"cannot recover from {where.path}: there is none at that place",
            hint=HINTS[NO_REPOSITORY.code],
        )
    if not (data_dir / RECOVERING).exists() and lifecycle.supervisor_pid(data_dir) is not None:
        raise NOT_EMPTY.error(
            f"cannot recover into {data_dir}: it is not empty, and Homeport runs there",
            hint="name an empty directory with --data-dir; or homeport down first, then move what is there away. "
            "Where a recovery into it has ended and something is missing: homeport restore --cluster NAME --plan "
            "looks for a cluster again, homeport deploy is for an app that does not serve",
        )


def _may_look(path: str) -> bool:
    """Else restic tells what is in the way."""
    return all(os.access(p, os.X_OK) for p in (path, f"{path}/files") if os.path.exists(p))


def _undelete(r: Recovery, since: datetime) -> None:
    r.begin("bring back what was deleted in the store")
    place = files_place(r.place, _of(r.keys))
    if isinstance(place, files_model.LocalPlace):
        raise BAD_REPOSITORY.error(f"cannot bring back files in {r.place}: a directory keeps no versions")
    from homeport.backup.locks.bucket import Bucket

    with Bucket(str(r.place), place) as bucket:
        found = undelete(str(r.place), bucket, prefix_of(r.place.prefix), since, only_plan=False)
    r.end(f"{found.deleted} that were deleted, {found.overwritten} that were overwritten")


# Files


def _files(r: Recovery) -> None:
    asked = {
        "place": r.place.to_json(),
        "before": text_time(r.before) if r.before else None,
    }
    layout = files_model.Layout(r.data_dir)
    if r.marker.exists():
        r.known = dict(files.read_json(r.marker))
        if {k: r.known.get(k) for k in asked} != asked:
            raise OTHER.error(
                f"cannot recover into {r.data_dir}: a recovery from {Place(**r.known['place'])} was begun there",
                hint="finish that, as it was called; or name an empty directory with --data-dir",
            )
    if not (r.marker.exists() and not layout.recovering.exists()):
        r.known = asked
        _fetch(r, layout)
    found = r.known.get("files", {})
    r.lost += [f"files of {series}: none of its backups is whole" for series in found.get("lost", ())]
    r.notes += [f"passed over, since it is damaged: {text}" for text in found.get("passed_over", ())]
    for dump in found.get("dumps", ()):
        r.todo.append(
            f"database {dump['series']} is run elsewhere and was left as it is; its newest dump is of {dump['at']}"
        )
    if not found:
        r.notes.append("a recovery before this one was cut off: what it passed over is not known any more")


def _fetch(r: Recovery, layout: files_model.Layout) -> None:
    def on_step(name: str) -> None:
        r.end()
        r.begin(name)
        if tree.is_dir():
            # So it comes into place before what makes the directory Homeport's.
            files.write_atomic(tree / RECOVERING, r.text(), mode=0o600)

    def on_former(former: str) -> None:
        if former != str(r.data_dir):
            r.end()
            r.begin("see where it was")
            r.end(
                f"in {former}, not {r.data_dir}: paths in releases are changed; --data-dir {former} spares that"
            )

    def on_fetched(back: recovery.Recovered) -> None:
        r.known |= {"files": _told(back)}

    tree = layout.recovering / "tree"
    if (layout.recovering / "placing").exists():
        # It was cut off while it put things into place: what it had found is told at the end all the same.
        for path in (tree / RECOVERING, r.marker):
            if path.is_file() and "files" in (known := files.read_json(path)):
                r.known |= {"files": known["files"]}
    r.begin(f"look at {r.place}")
    repository = files_model.Repository(str(r.place), files_place(r.place, _of(r.keys)), r.passphrase)
    try:
        back = recovery.recover(
            r.data_dir,
            repository,
            r.clock,
            before=r.before,
            on_step=on_step,
            on_former=on_former,
            on_fetched=on_fetched,
        )
    except HomeportError as e:
        if (
            e.type is not WORKING
            and layout.recovering.exists()
            and not (layout.recovering / "placing").exists()
        ):
            # Nothing of it is worth keeping, and the directory is as empty as it was.
            files.remove_tree(layout.recovering, within=r.data_dir)
        e.hint = e.hint or HINTS.get(e.code, "")
        raise
    count = sum(s.files for s in back.series)
    r.end(f"{count:,} files" if back.series else "")
    r.keep()


def _told(back: recovery.Recovered) -> dict[str, Any]:
    return {
        "series": {s.series: text_time(s.at) for s in back.series},
        "lost": list(back.lost),
        "passed_over": list(back.passed_over),
        "dumps": [{"series": d.series, "at": format_moment(d.at)} for d in back.dumps],
        "former": back.former,
    }


def _as_of(r: Recovery) -> list[dict[str, Any]]:
    """What came back, and of which moment it is; null: that is not known any more."""
    series = r.known.get("files", {}).get("series", {})
    found = [{"what": "state, releases, config and secrets", "at": series.get(files_model.HOMEPORT)}]
    found += [
        {"what": f"files of {name}", "at": at} for name, at in series.items() if name != files_model.HOMEPORT
    ]
    found += [
        {"what": f"cluster {name}", "at": values.get("until")}
        for name, values in r.known.get("clusters", {}).items()
        if "bytes" in values
    ]
    return found


def _of(keys: Mapping[str, str]) -> Callable[[str], Secret]:
    return lambda what: Secret(keys[what.lower()])


# State


def _settle(r: Recovery) -> None:
    if "repository" in r.known:
        return
    r.begin("take the former machine's processes out of the state")
    found = r.known.get("files", {})
    as_of = found.get("series", {}).get(files_model.HOMEPORT)
    engine = open_engine(r.data_dir / "state.db")
    try:
        store = Store(engine, r.clock)
        vault = Vault(store, r.data_dir / KEY_FILE)
        repository = _which(r, Repositories(store, vault), vault)
        recovered.settle(
            store,
            vault,
            repository=repository,
            place=r.place,
            keys=r.keys,
            former=found.get("former", ""),
            here=str(r.data_dir),
            as_of=parse_time(as_of) if as_of else None,
            before=r.before,
        )
        others = [x.name for x in Repositories(store, vault).list() if x.name != repository]
    finally:
        engine.dispose()
    r.keep(repository=repository, others=others)
    r.end()


def _tell_new_path(r: Recovery) -> None:
    """Have releases that name the former data directory name this one, and say which do."""
    former = r.former
    if not former:
        return
    if "moved" not in r.known:
        r.begin(f"have releases name {r.data_dir} where they name {former}")
        found = moved.tell(r.data_dir, former)
        r.keep(moved=[[m.app, m.release, m.changed, list(m.left)] for m in found])
        changed = sum(m.changed for m in found)
        r.end(f"{changed:,} files of {len(found)} releases" if found else "none does")
    for app in dict.fromkeys(app for app, *_ in r.known["moved"]):
        told = [release for of, release, changed, _ in r.known["moved"] if of == app and changed]
        if told:
            r.notes.append(f"{', '.join(told)} of {app} named {former}, and names {r.data_dir} now")
    for app, release, _, left in r.known["moved"]:
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            r.notes.append(f"{release} of {app} names {former} still in {', '.join(left[:3])}{more}")


def _which(r: Recovery, repositories: Repositories, vault: Vault) -> str:
    """Which of those that the recovered Homeport knows this one is: it may be reached otherwise now."""
    for known in repositories.list():
        if known.place == r.place:
            return known.name
    for known in repositories.list():
        password = Secret(vault.reveal(*MACHINE, secret_name(known.name, "FILES")))
        found = files_model.Repository(known.name, files_place(r.place, _of(r.keys)), password)
        try:
            FileBackups(r.data_dir, [found], r.clock).restic(known.name).check_opened()
        except HomeportError:
            continue
        return known.name
    raise NOT_MINE.error(
        f"cannot go on: the Homeport that was backed up in {r.place} does not know this repository",
        hint="it was removed there before the backup, or copied from another one",
    )
