"""What sources ask of pipelines and previews, handed in by ``main``."""

from datetime import datetime
from typing import Protocol

from homeport.kernel.ids import AppName, RunId
from homeport.rollout.model import Commit


class Runs(Protocol):
    def begin(
        self,
        app: AppName,
        *,
        archive: str,
        commit: str,
        subject: str,
        author: str,
        committed_at: datetime | None,
        branch: str,
        cause: str,
        actor: str,
        id: RunId | None = None,
    ) -> object:
        """Begin a run of the app's pipeline. Raises what makes it impossible."""
        ...


class Branches(Protocol):
    """Previews of an app's branches."""

    def create(self, app: AppName, *, archive_digest: str, commit: Commit, branch: str, actor: str) -> object:
        """Have a preview of the branch show the commit; made when there is none."""
        ...

    def remove_branch(self, app: AppName, branch: str, *, actor: str, reason: str) -> object:
        """Take the branch's preview away; nothing when there is none."""
        ...
