"""Drills about repositories: one that does not answer, and a passphrase that does not fit."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from homeport.backup.drills import on_files
from homeport.backup.drills.errors import NO_OTHER, NOT_BROUGHT_BACK, NOT_DETECTED
from homeport.backup.drills.ground import BACK, Ground
from homeport.backup.drills.model import BREAK, CONTAIN, DETECT, PREPARE, RESTORE, SMOKE, VERIFY
from homeport.backup.drills.on_servers import passphrase, smoke_if_cluster
from homeport.backup.drills.phases import Found, Phase, Request, found, verified
from homeport.backup.files import model as files_model
from homeport.backup.files.errors import NOT_OPENED
from homeport.backup.physical.errors import WRONG_PASSPHRASE
from homeport.backup.physical.model import LocalStore, Settings
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.kernel.units import format_duration

NOWHERE = "127.0.0.1"
CLOSED = 1
"""A port at which nobody listens."""


def ready(ground: Ground, _: Request) -> Found:
    """What production has now is known, where there is a cluster."""
    ground.begin()
    names = [r.name for r in ground.box.repositories.list()]
    if not ground.cluster:
        return found(f"repositories: {', '.join(names)}")
    ground.must_have_room(1)
    mark = ground.mark()
    return found(f"repositories: {', '.join(names)}; {mark.rows:,} rows are known")


# One does not answer


def unplug(ground: Ground, _: Request) -> Found:
    victim = ground.box.repositories.list()[0].name
    ground.note(victim=victim)
    ground.happened()
    return found(f"for this drill alone, repository {victim} is at a place that is not there")


def _gone(ground: Ground) -> Path:
    return ground.directory / "gone"


def _unplugged(ground: Ground) -> Settings:
    settings = ground.settings()
    victim = ground.notes["victim"]
    changed = []
    for r in settings.repositories:
        if r.name == victim:
            store = r.store
            if isinstance(store, LocalStore):
                r = replace(r, store=LocalStore(_gone(ground) / "postgresql"))
            else:
                r = replace(r, store=replace(store, endpoint=NOWHERE, port=CLOSED))
        changed.append(r)
    return replace(settings, repositories=tuple(changed))


def _unplugged_files(ground: Ground) -> tuple[files_model.Repository, ...]:
    changed = []
    for r in ground.box.repositories.for_files():
        if r.name == ground.notes["victim"]:
            if isinstance(r.place, files_model.LocalPlace):
                r = replace(r, place=files_model.LocalPlace(_gone(ground) / "files"))
            else:
                r = replace(r, place=replace(r.place, endpoint=f"https://{NOWHERE}:{CLOSED}"))
        changed.append(r)
    return tuple(changed)


def name_it(ground: Ground, _: Request) -> Found:
    """Both programs say which one. Raises ``drill.not_detected``."""
    victim = ground.notes["victim"]
    told = []
    repository = next(r for r in _unplugged_files(ground) if r.name == victim)
    try:
        on_files.restic(ground, repository).snapshots()
    except HomeportError as e:
        told.append(e.sentence)
    else:
        raise NOT_DETECTED.error(f"cannot see that repository {victim} does not answer: files are listed")
    if ground.cluster:
        told.append(_named(ground, victim))
    return found(*told)


def _named(ground: Ground, victim: str) -> str:
    _make_way(ground)
    program = ground.program(_unplugged(ground))
    try:
        look = program.read(victim)
    except HomeportError as e:
        return e.sentence
    if look.backups or look.system_id is not None:
        raise NOT_DETECTED.error(f"cannot see that repository {victim} does not answer: backups are listed")
    return f"repository {victim} holds nothing of cluster {ground.cluster}"


def _make_way(ground: Ground) -> None:
    """pgBackRest's directory is made where it is not there: an empty one, as where a disk was not mounted."""
    _gone(ground).mkdir(mode=0o755, exist_ok=True)


def still_backed_up(ground: Ground, _: Request) -> Found:
    names = [r.name for r in ground.box.repositories.list() if r.name != ground.notes["victim"]]
    if names:
        return found(f"{', '.join(names)} get on with it; the log waits on this machine for the other")
    return found("the log waits on this machine until its disk is full: nothing else gets it")


def from_another(ground: Ground, _: Request) -> Found:
    others = [r for r in _unplugged_files(ground) if r.name != ground.notes["victim"]]
    if not others:
        raise NO_OTHER.error(
            f"cannot restore anything while repository {ground.notes['victim']} does not answer: there is no other",
            hint="homeport backup repository add NAME, at another place",
        )
    told, ages = [], {}
    for r in others:
        snapshots, _orphans = on_files.restic(ground, r).snapshots()
        ages[r.name] = max((s.at for s in snapshots if s.is_finished), default=None)
    for name, at in ages.items():
        if at is None:
            raise NOT_BROUGHT_BACK.error(f"cannot restore files from repository {name}: it has none")
        ago = format_duration((ground.box.clock.now() - at).total_seconds())
        told.append(f"{name} has files of {ago} ago")
    if not ground.cluster:
        return found(*told)
    _make_way(ground)
    restored = ground.bring(BACK, ground.at_mark(), settings=_unplugged(ground))
    told.insert(0, f"restored {restored.label} from {restored.repository}")
    return found(*told, restore_seconds=round(restored.seconds, 3))


def as_marked(ground: Ground, _: Request) -> Found:
    return verified(ground) if ground.cluster else found("what is listed is there")


# A passphrase does not fit


def mistype(ground: Ground, _: Request) -> Found:
    ground.happened()
    return found("for this drill alone, every repository is asked with another password")


def refused(ground: Ground, _: Request) -> Found:
    """By every one, and said so: not taken for damage. Raises ``drill.not_detected``."""
    wrong = Secret(secrets.token_hex(32))
    told = []
    for repository in ground.box.repositories.for_files():
        told.append(_refusal(ground, replace(repository, password=wrong)))
    if ground.cluster:
        settings = ground.settings()
        changed = tuple(replace(r, passphrase=wrong) for r in settings.repositories)
        program = ground.program(replace(settings, repositories=changed))
        for r in changed:
            try:
                program.read(r.name)
            except HomeportError as e:
                if e.type is not WRONG_PASSPHRASE:
                    raise NOT_DETECTED.error(
                        f"cannot see that the passphrase of {r.name} is wrong: {e.sentence}"
                    ) from e
                told.append(e.sentence)
            else:
                raise NOT_DETECTED.error(
                    f"cannot see that the passphrase of {r.name} is wrong: it was opened"
                )
    return found(*told)


def _refusal(ground: Ground, repository: files_model.Repository) -> str:
    try:
        on_files.restic(ground, repository).check_opened()
    except HomeportError as e:
        if e.type is not NOT_OPENED:
            raise NOT_DETECTED.error(
                f"cannot see that the password of {repository.name} is wrong: {e.sentence}"
            ) from e
        return e.sentence
    raise NOT_DETECTED.error(f"cannot see that the password of {repository.name} is wrong: it was opened")


def untouched(_: Ground, __: Request) -> Found:
    return found("nothing was written: a wrong passphrase opens nothing, and changes nothing")


def with_the_right_one(ground: Ground, request: Request) -> Found:
    told: list[str] = []
    todo: list[str] = []
    for repository in ground.box.repositories.for_files():
        on_files.restic(ground, repository).check_opened()
        told.append(f"{repository.name} is opened by what this machine has")
    passphrase(request, told, todo)
    if not ground.cluster:
        return found(*told, todo=todo)
    restored = ground.bring(BACK, ground.at_mark())
    told.append(f"restored {restored.label} from {restored.repository}")
    return found(*told, todo=todo, restore_seconds=round(restored.seconds, 3))


UNREACHABLE: dict[str, Phase] = {
    PREPARE: ready,
    BREAK: unplug,
    DETECT: name_it,
    CONTAIN: still_backed_up,
    RESTORE: from_another,
    VERIFY: as_marked,
    SMOKE: smoke_if_cluster,
}
PASSPHRASE: dict[str, Phase] = {
    **UNREACHABLE,
    BREAK: mistype,
    DETECT: refused,
    CONTAIN: untouched,
    RESTORE: with_the_right_one,
}
