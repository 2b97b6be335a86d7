from datetime import UTC, datetime
from typing import Any

from homeport.backup.model import CANCELLED, PASSED, RETURNING, RUNNING, Run, Step, next_step
from homeport.backup.restores.model import Place
from homeport.database.model import Provisioned
from homeport.rollout.backups.clones import Wanted, planned
from homeport.spec.model_backup import Mask

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def row(environment: str) -> Provisioned:
    return Provisioned(
        "shop",
        environment,
        "main",
        "main",
        f"shop_{environment}",
        "ready",
        "a",
        None,
        "transaction",
        None,
        1,
        (),
        NOW,
    )


def steps(**wanted: Any) -> tuple[Step, ...]:
    place = Place.for_run(
        "b-0123456789",
        NOW,
        app="shop",
        environment="staging",
        name="main",
        cluster="main",
        database="shop_staging",
    )
    masks = (Mask("public.users", "email", "email"),)
    return planned("b-0123456789", place, row("production"), row("staging"), masks, Wanted(**wanted))


def works(found: tuple[Step, ...]) -> list[str]:
    return [s.work for s in found]


def test_what_served_is_dropped_and_files_come_only_when_asked_for() -> None:
    assert works(steps()) == ["clone-copy", "clone-mask", "clone-load", "clone-switch", "clone-tidy"]
    assert works(steps(replace=True, files=True)) == [
        "clone-copy", "clone-mask", "clone-load", "clone-switch", "clone-drop-former", "clone-files", "clone-tidy",
    ]  # fmt: skip


def test_nothing_is_loaded_unmasked_or_dropped_unswitched_and_it_is_always_tidied() -> None:
    found = steps(replace=True, files=True)
    for failed in range(len(found) - 1):
        run = Run("b-0123456789", "clone", "", RETURNING, {}, "", RUNNING, found, "", NOW, None)
        done = []
        while (step_and_how := next_step(run)) is not None:
            step, how = step_and_how
            done += [step.work] if how == "do" else []
            state = PASSED if how == "do" and step.work != found[failed].work else CANCELLED
            run = run.with_step(Step(**{**step.to_json(), "needs": step.needs, "state": state}))
        if failed < 4:
            # Files and the former database depend on the switch alone.
            assert done == [*works(found)[: failed + 1], "clone-tidy"]
        assert done[-1] == "clone-tidy"


def test_masks_go_along_as_the_release_that_serves_has_them() -> None:
    (mask,) = [s for s in steps() if s.work == "clone-mask"]
    assert mask.request["masks"] == [
        {"table": "public.users", "column": "email", "rule": "email", "database": "main"}
    ]
