"""Errors over HTTP, as RFC 9457 problem documents."""

import logging
import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DatabaseError
from starlette.exceptions import HTTPException

from homeport.api.wire import Problem
from homeport.journal.store import UNREADABLE
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.rollout.build import DISK_FULL

log = logging.getLogger(__name__)

BAD_REQUEST = declare("api.invalid_request", Kind.INVALID, "A call to the API is malformed.")
NO_SUCH_PATH = declare("api.not_found", Kind.NOT_FOUND, "The API has no such path or method.")
BROKEN = declare("api.internal", Kind.FAILED, "The control plane met a fault of its own.")


SCHEMAS = "#/components/schemas/"


class Api(FastAPI):
    """Describes a problem once, for all that :func:`responses` names."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema(ref_template=f"{SCHEMAS}{{model}}"))
        return document


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def problem(error: HomeportError, status: int | None = None) -> ProblemResponse:
    """``status`` is the answer's, when it is not the one that the error's kind has."""
    body = Problem(
        type=f"urn:homeport:error:{error.code}",
        title=error.type.when,
        status=status or error.kind.http_status,
        detail=error.sentence,
        code=error.code,
        hint=error.hint,
        details=list(error.details),
        retry=error.type.retry,
    )
    headers = {"Retry-After": "1"} if error.type.retry else None
    return ProblemResponse(body.model_dump(), status_code=body.status, headers=headers)


def install(app: FastAPI, mask: Callable[[str], str]) -> None:
    """Have every error of the app answered by a problem document. ``mask`` takes secrets out of a text."""

    @app.exception_handler(HomeportError)
    def on_homeport_error(_: Request, error: HomeportError) -> ProblemResponse:
        details = tuple(mask(line) for line in error.details)
        return problem(error.type.error(mask(error.sentence), hint=mask(error.hint), details=details))

    @app.exception_handler(RequestValidationError)
    async def on_validation(_: Request, error: RequestValidationError) -> ProblemResponse:
        details = [f"at '{'.'.join(str(x) for x in e['loc'])}': {e['msg']}" for e in error.errors()]
        return problem(BAD_REQUEST.error("cannot take the request", details=details))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> ProblemResponse:
        what = f"cannot {request.method} {request.url.path}: {error.detail}"
        type_ = NO_SUCH_PATH if error.status_code in (404, 405) else BAD_REQUEST
        # A body that cannot be parsed is 400 to FastAPI, one that does not fit 422: here both are 422.
        status = type_.kind.http_status if error.status_code == 400 else error.status_code
        hint = "GET /v1/openapi.json describes the API"
        answer = problem(type_.error(what, hint=hint), status=status)
        if error.headers:
            answer.headers.update(error.headers)
        if status == 405:
            # Starlette names those of the first route with this path only.
            answer.headers["Allow"] = ", ".join(_methods(request))
        return answer

    @app.exception_handler(DatabaseError)
    async def on_database(request: Request, error: DatabaseError) -> ProblemResponse:
        log.error("%s %s: %s", request.method, request.url.path, error.orig)
        if "disk is full" in str(error.orig):
            return problem(
                DISK_FULL.error(
                    "cannot write to state.db: the disk is full", hint="make room, then try again"
                )
            )
        return problem(
            UNREADABLE.error(
                f"cannot use state.db: {error.orig}",
                hint="apps go on serving; homeport doctor looks for the cause",
            )
        )

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> ProblemResponse:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return problem(
            BROKEN.error(
                f"cannot answer: {type(error).__name__}", hint="see logs/serve.log, and homeport doctor"
            )
        )


def _methods(request: Request) -> list[str]:
    """The methods that the API has for the path of a request."""
    found = set()
    for template, operations in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.url.path):
            found |= {method.upper() for method in operations}
    return sorted(found)


def responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The documented error answers of an operation; 422 always.

    They name the schema that :class:`Api` adds. With ``Problem`` as their ``model`` FastAPI made a validator for
    each of some seven hundred, at each start, and documented ``application/json`` beside what is sent.
    """
    return {
        k.http_status: {
            "description": k.name.replace("_", " ").capitalize(),
            "content": {"application/problem+json": {"schema": {"$ref": f"{SCHEMAS}Problem"}}},
        }
        for k in (Kind.INVALID, *kinds)
    }
