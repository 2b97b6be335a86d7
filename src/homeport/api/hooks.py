"""The way in for webhooks: ``POST /.homeport/hooks/{app}``, on a unix socket of its own that the edge reaches.

Nothing else of the API is there. Who calls is a stranger until :mod:`homeport.rollout.sources.webhooks` says
otherwise, so an answer tells no more than that.
"""

import logging
from collections.abc import Callable, Mapping

from sqlalchemy.exc import DatabaseError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from homeport.kernel.errors import HomeportError
from homeport.rollout.sources.model import Ignored, Refused, Verdict
from homeport.rollout.sources.webhooks import MAX_BODY

Receive = Callable[[str, Mapping[str, str], bytes], Verdict]

log = logging.getLogger(__name__)


def make(receive: Receive) -> Starlette:
    """The application. ``receive``: app, headers by lower-case name and body to what comes of them."""

    async def post(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return _answer(400, "the body broke off")
        if body is None:
            return _answer(413, f"a body has at most {MAX_BODY:,} bytes")
        # Of a header that is there twice the first one counts, for its signature as for its content.
        headers = dict(request.headers)
        try:
            said = await run_in_threadpool(receive, request.path_params["app"], headers, body)
        except (HomeportError, DatabaseError) as e:
            log.error("webhook of %s: %s", request.path_params["app"][:60], e)
            return _answer(503, "try again later")
        match said:
            case Refused():
                return _answer(said.status, said.why)
            case Ignored():
                return JSONResponse({"status": "ignored", "why": said.why})
        return JSONResponse({"status": "accepted"}, status_code=202)

    return Starlette(routes=[Route("/.homeport/hooks/{app}", post, methods=["POST"])])


async def _body(request: Request) -> bytes | None:
    """None, before it is read, when it is longer than :data:`MAX_BODY`."""
    told = request.headers.get("content-length", "0")
    if not told.isascii() or not told.isdigit() or int(told[:12]) > MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _answer(status: int, why: str) -> JSONResponse:
    headers = {"Retry-After": "10"} if status == 503 else {"Connection": "close"} if status == 413 else None
    return JSONResponse({"status": "refused", "why": why}, status_code=status, headers=headers)
