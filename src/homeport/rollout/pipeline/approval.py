"""What an approval lets through: the difference between what serves an environment and what would."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, release_number
from homeport.rollout import config as configuration
from homeport.rollout.desired import spec_of
from homeport.rollout.model import Config, Release
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline.model import Run
from homeport.rollout.pipeline.record import masked
from homeport.system import process

MOST = 50
"""Commits, files and lines of a difference that are shown."""
WIDEST = 300
"""Characters of each."""
GIT_TIMEOUT = 10.0


def what(
    parts: Parts, run: Run, name: EnvironmentName, migrations: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What would change in an environment. Texts are without secrets, and everything is bounded.

    ``migrations``: what the trial at the gate said of each database, see :mod:`.trial`.
    """
    environment = next((e for e in parts.state.environments(run.app) if e.name == name), None)
    serving: Release | None = None
    before, after = Config(), Config()
    if environment is not None:
        after = parts.config_now(environment)
        if environment.serving is not None:
            serving = parts.state.release(run.app, environment.serving)
            before = parts.state.serving_config(environment)
    commits, total, known = _commits(parts, run, serving)
    found = {
        "environment": name,
        "serving": serving.id if serving else None,
        "serving_commit": serving.commit.id if serving else None,
        "commit": run.commit.id,
        "subject": run.commit.subject,
        "author": run.commit.author,
        "commits": commits,
        "commits_in_all": total,
        "commits_known": known,
        "files": _files(parts, run, serving),
        "config": differences(
            _settings(serving.spec, name, before) if serving else {}, _settings(run.spec, name, after)
        ),
        "spec": _spec_difference(serving.spec, run.spec) if serving else [],
        "migrations": list(migrations),
    }
    result: dict[str, Any] = masked(found, parts)
    return result


Settings = Mapping[str, configuration.Setting]


def _settings(text: str, name: EnvironmentName, config: Config) -> Settings:
    whole = spec_of(text)
    main = whole.for_environment(name).main_process
    found = configuration.settings(whole, name, ReleaseId(""), main, config)
    return {s.name: s for s in found if s.origin != "Homeport"}


def differences(before: Settings, after: Settings) -> list[dict[str, Any]]:
    """How two configurations differ, by name. A secret is told by its versions only."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        secret = any(s is not None and s.value is None for s in (old, new))
        if old is not None and new is not None and (old.value, old.version) == (new.value, new.version):
            continue
        found.append(
            {
                "name": name,
                "change": "added" if old is None else "removed" if new is None else "changed",
                "secret": secret,
                "before": _shown(old, secret),
                "after": _shown(new, secret),
            }
        )
    return found


def _shown(setting: configuration.Setting | None, secret: bool) -> str | None:
    if setting is None:
        return None
    if secret:
        return f"version {setting.version}" if setting.version is not None else "a plain value"
    return (setting.value or "")[:WIDEST]


def _spec_difference(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    found = [line[:WIDEST] for line in lines][2:]
    return found[:MOST] + ([f"… {len(found) - MOST} more lines"] if len(found) > MOST else [])


def _commits(parts: Parts, run: Run, serving: Release | None) -> tuple[list[str], int, bool]:
    """Commits since what serves, newest first, how many there are, and whether these are all.

    Without a repository that knows them they are those that releases were made of.
    """
    own = f"{run.commit.id[:10]} {run.commit.subject}"[:WIDEST]
    if serving is None:
        return [own], 1, True
    between = f"{serving.commit.id}..{run.commit.id}"
    # A subject may be as long as a push.
    listed = _git(parts, run.app, "log", f"--max-count={MOST}", f"--format=%h %<({WIDEST},trunc)%s", between)
    counted = _git(parts, run.app, "rev-list", "--count", between)
    if listed is not None and counted:
        return [line.rstrip()[:WIDEST] for line in listed], int(counted[0]), True
    known = {
        r.commit.id: f"{r.commit.id[:10]} {r.commit.subject}"[:WIDEST]
        for r in parts.state.releases(run.app)
        if release_number(r.id) > release_number(serving.id) and r.created_at <= run.created_at
    }
    known.pop(run.commit.id, None)
    known.pop(serving.commit.id, None)
    same = run.commit.id == serving.commit.id
    found = [] if same else [own]
    found += reversed(known.values())
    return found[:MOST], len(found), same


def _files(parts: Parts, run: Run, serving: Release | None) -> list[str]:
    """How many lines changed in which files; [] where no repository is at hand."""
    if serving is None:
        return []
    found = _git(parts, run.app, "diff", "--stat=100", f"{serving.commit.id}..{run.commit.id}") or []
    if len(found) > MOST:
        found = [*found[: MOST - 1], found[-1]]
    return [line[:WIDEST] for line in found]


def _git(parts: Parts, app: AppName, *arguments: str) -> list[str] | None:
    """What git tells of the app's repository; None where there is none, or it does not know the commits."""
    repository: Path = parts.data_dir / "repositories" / f"{app}.git"
    if not repository.is_dir():
        return None
    try:
        done = process.run(
            ("git", f"--git-dir={repository}", "--no-pager", *arguments, "--"),
            timeout=GIT_TIMEOUT,
            check=False,
        )
    except HomeportError:
        return None
    return done.stdout.splitlines() if done.ok else None
