"""Where a release's instances run, and the directories that outlive releases.

Without ``[storage]`` the instances of all environments run in the release's own directory. With it, each
environment has a copy of its own, of hard links (no bytes are copied), in which the storage's paths are
links to ``storage/<app>/<environment>/<name>``: one build serves staging and production, each with its
own uploads.
"""

import os
import pwd
import shutil
from pathlib import Path

from homeport.kernel.errors import Kind, declare
from homeport.spec.model import Spec, Storage
from homeport.system import files, process

BAD_PATH = declare(
    "rollout.storage_path", Kind.INVALID, "A storage's path cannot be used in the release: a file is there."
)


def directories(root: Path, spec: Spec) -> dict[str, str]:
    """The storage directories of an environment, whose root is given, by name."""
    return {storage.name: str(root / storage.name) for storage in spec.storage}


def prepare(build: Path, target: Path, root: Path, spec: Spec, *, within: Path) -> None:
    """Make ``target`` from ``build``, linked to the storage below ``root``; nothing when it is there.

    What a build left at a storage's path becomes the storage's first content. Raises
    ``rollout.storage_path``.
    """
    for storage in spec.storage:
        _make(root / storage.name, spec)
    if target.is_dir():
        return
    fresh = target.with_name(f"{target.name}.new")
    files.remove_tree(fresh, within=within)
    try:
        process.run(("cp", "-al", str(build), str(fresh)), timeout=120)
        for storage in spec.storage:
            _connect(fresh, storage, root / storage.name, spec, within)
    except BaseException:
        files.remove_tree(fresh, within=within)
        raise
    os.rename(fresh, target)


def _make(directory: Path, spec: Spec) -> None:
    if directory.is_dir():
        return
    directory.mkdir(parents=True, exist_ok=True)
    _hand_over(directory, spec)


def _hand_over(directory: Path, spec: Spec) -> None:
    """Give it and what is in it to the user that the app's processes run as."""
    user = next((p.user for p in spec.processes if p.user is not None), None)
    if user is None or os.geteuid() != 0:
        return
    entry = pwd.getpwnam(user)
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    for parent, directories, names in os.walk(directory):
        for name in (*directories, *names):
            os.chown(os.path.join(parent, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _connect(release: Path, storage: Storage, directory: Path, spec: Spec, within: Path) -> None:
    place = release / storage.path
    parent = release
    for part in Path(storage.path).parent.parts:
        parent = parent / part
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            raise BAD_PATH.error(
                f"cannot put storage {storage.name} at {storage.path}: {parent.relative_to(release)} is no directory",
                hint="choose another path for it in homeport.toml",
            )
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BAD_PATH.error(
            f"cannot put storage {storage.name} at {storage.path}: the release has a file there",
            hint="remove it from the repository, or choose another path for the storage",
        )
    if place.is_dir():
        if not any(directory.iterdir()):
            # A copy, not the links: what is stored must not change what another environment runs.
            whole = directory.with_name(f"{directory.name}.new")
            files.remove_tree(whole, within=within)
            shutil.copytree(place, whole, symlinks=True)
            _hand_over(whole, spec)
            process.run(("sync", "-f", str(whole)), timeout=60, check=False)
            os.rename(whole, directory)
        shutil.rmtree(place)
    os.symlink(directory, place)
