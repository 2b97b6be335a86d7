"""What the operations of the API have in common: path parameters, headers, idempotency."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header
from fastapi import Path as PathParameter
from pydantic import AfterValidator
from sqlalchemy.exc import IntegrityError

from homeport.api import problems, wire
from homeport.api.services import Services
from homeport.guard.identity import actor_of
from homeport.kernel.errors import HomeportError, Kind
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName
from homeport.rollout.model import Change, ChangeKind
from homeport.rollout.rollouts import id_for

App = Annotated[wire.Name, PathParameter(examples=["shop"])]
Release = Annotated[wire.ReleaseName, PathParameter(examples=["r3"])]
Environment = Annotated[wire.Name, PathParameter(examples=["production"])]
ChangeParameter = Annotated[str, PathParameter(pattern=r"^c-[0-9a-f]{10}$", examples=["c-1f2e3d4c5b"])]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=128,
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="the same key gives the same change, however often it is sent",
    ),
]
Actor = Annotated[
    str,
    Header(alias="X-Homeport-Actor", max_length=64, pattern=r"^[A-Za-z0-9_.@-]+$", description="who asks"),
    AfterValidator(actor_of),
]
ENVIRONMENT = "/apps/{app}/environments/{environment}"
BROKEN = (Kind.FAILED, Kind.UNAVAILABLE)
REFUSED = problems.responses(Kind.NOT_FOUND, Kind.CONFLICT, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN)


def once(
    s: Services,
    key: str | None,
    kind: ChangeKind,
    app: str,
    environment: str,
    asked: Callable[[Change], bool],
    make: Callable[[ChangeId | None], Change],
) -> wire.ChangeOut:
    """The change that ``make`` makes, or the one that an earlier call with this key made."""
    if key is None:
        return s.change(make(None))

    def made() -> Change | None:
        return s.rollouts.made_by(key, kind, AppName(app), EnvironmentName(environment), asked)

    before = made()
    if before is not None:
        return s.change(before)
    try:
        return s.change(make(id_for(key)))
    except (HomeportError, IntegrityError):
        # The same call came twice at once, and the other one was first.
        meanwhile = made()
        if meanwhile is None:
            raise
        return s.change(meanwhile)
