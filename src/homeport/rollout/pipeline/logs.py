"""What the stages of runs print, and the sources that runs work with: ``<data>/pipelines/<app>/<run>/``."""

import os
from pathlib import Path

from homeport.kernel.ids import AppName, RunId
from homeport.rollout.errors import NO_ARCHIVE
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline.model import Run, RunState
from homeport.rollout.pipeline.state import Runs
from homeport.system import files

KEEP_RUNS = 50
"""Runs of an app whose output is kept."""
KEEP_SOURCES = 5
"""Runs of an app that failed or were cancelled whose sources are kept, so that they can be tried again."""


class RunFiles:
    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts = parts
        self._runs = runs

    def directory(self, app: AppName, run: RunId) -> Path:
        return self._parts.data_dir / "pipelines" / app / run

    def log(self, run: Run, position: int, attempt: int) -> Path:
        """What a stage printed; it may not be there."""
        return self.directory(run.app, run.id) / f"{position}-{attempt}.log"

    def scratch(self, run: Run, position: int, attempt: int) -> Path:
        return self.directory(run.app, run.id) / f"{position}-{attempt}.work"

    def keep_source(self, app: AppName, run: RunId, digest: str) -> None:
        """Hold on to an uploaded archive: those that no change names are removed after a while."""
        directory = self.directory(app, run)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = directory / "source.tar"
        if not own.exists():
            os.link(self._parts.archive(digest), own)

    def source(self, run: Run) -> Path:
        """The run's archive, where a deploy looks for it. Raises ``rollout.no_archive``."""
        archive = self._parts.archive(run.archive)
        own = self.directory(run.app, run.id) / "source.tar"
        try:
            if not archive.is_file():
                archive.parent.mkdir(mode=0o700, exist_ok=True)
                os.link(own, archive)
            else:
                os.utime(archive)
        except FileExistsError:
            pass
        except FileNotFoundError as e:
            raise NO_ARCHIVE.error(
                f"cannot go on with run {run.title}: its sources were removed to make room",
                hint=f"homeport pipeline run {run.commit.id[:10]} begins anew",
            ) from e
        return archive

    def prune(self, app: AppName) -> None:
        """Remove what old runs left; nothing of one that has not ended."""
        root = self._parts.data_dir / "pipelines" / app
        if not root.is_dir():
            return
        newest = self._runs.runs(app, limit=KEEP_RUNS)
        kept = {r.id for r in newest} | {r.id for r in self._runs.unfinished(app)}
        for entry in root.iterdir():
            if entry.name not in kept:
                files.remove_tree(entry, within=self._parts.data_dir)
        again = [r for r in newest if r.state in (RunState.FAILED, RunState.CANCELLED)][:KEEP_SOURCES]
        for run in newest:
            if run.state.ended and run not in again:
                (self.directory(app, run.id) / "source.tar").unlink(missing_ok=True)

    def forget_app(self, app: AppName) -> None:
        root = self._parts.data_dir / "pipelines" / app
        if root.exists():
            files.remove_tree(root, within=self._parts.data_dir)
