"""Durable work on DBOS: what was started is finished, whatever is killed on the way."""

import contextvars
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeport.kernel.ids import ChangeId

WORKFLOW_SCHEMA = "1"
"""DBOS recovers only workflows of the same application version: this changes when the loop below does,
not with every release, so that an upgrade resumes what the older version started."""


class DurableChanges:
    """Runs each change as one workflow: a loop over ``advance`` until it says that it is done.

    ``advance(change)`` observes, plans, applies one step and returns whether the change is finished.
    Each call is a DBOS step. It must be idempotent and must not raise: after ``kill -9`` the call that
    was cut off is made again, the finished ones are not.
    """

    def __init__(self, database: Path, advance: Callable[[ChangeId], bool]) -> None:
        # DBOS costs 0.26 s and 35 MB to import, so only the control plane does.
        from dbos import DBOS, SetWorkflowID

        logging.getLogger("dbos").setLevel(logging.WARNING)
        self._dbos = DBOS
        self._with_id = SetWorkflowID
        DBOS(
            config={
                "name": "homeport",
                "system_database_url": f"sqlite:///{database}",
                "application_version": WORKFLOW_SCHEMA,
                "executor_id": "local",
                "enable_otlp": False,
                "log_level": "WARNING",
                "db_engine_kwargs": {"connect_args": {"timeout": 15}},
            }
        )

        @DBOS.step(name="advance")
        def step(change: str) -> bool:
            return advance(ChangeId(change))

        @DBOS.workflow(name="change")
        def workflow(change: str) -> None:
            while not step(change):
                pass

        self._workflow: Any = workflow

    def launch(self, running: tuple[ChangeId, ...]) -> None:
        """Resume what was interrupted; ``running`` names every change that is not finished.

        A change recorded just before a crash may not have a workflow yet: it gets one now.
        """
        self._dbos.launch()
        for change in running:
            self.start(change)

    def start(self, change: ChangeId) -> None:
        """Start a change's workflow; nothing when it has one. May be called from within another one's step."""

        def begin() -> None:
            with self._with_id(change):
                self._dbos.start_workflow(self._workflow, change)

        # DBOS takes a call from within a step for a workflow's own, and refuses it.
        contextvars.Context().run(begin)

    def close(self) -> None:
        self._dbos.destroy(workflow_completion_timeout_sec=0)
