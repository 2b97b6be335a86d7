"""The static server itself: Starlette's ``StaticFiles`` on uvicorn, with what a built site needs.

Started by ``static_site.command``, never imported by Homeport. On top of ``StaticFiles``, which has
ranges, ETags, links kept inside the directory, ``index.html`` and ``404.html``: precompressed ``.br``
and ``.gz`` files, ``Cache-Control``, no hidden files, and redirects that keep scheme and host.
"""

import errno
import os
import stat
import sys
from mimetypes import MimeTypes
from urllib.parse import quote

import uvicorn
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import Message, Receive, Scope, Send

from homeport.runtime.static_site import REVALIDATE, accepted_encodings, cache_control, is_hashed, is_hidden

_SUFFIX = {"br": ".br", "gzip": ".gz"}
_NOT_A_FILE = frozenset({errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG})
_SMALL = 64 * 1024
"""Files up to this size are read in one go, without a thread for each step: twice the requests a second."""
_LARGE = 1 << 20
"""Files from this size on are read in pieces of 256 KiB: three times as fast as Starlette's 64 KiB."""

# Python's own table, the same on every machine, and what it lacks in 3.11.
_TYPES = MimeTypes()
for _suffix, _type in {
    ".avif": "image/avif",
    ".br": "application/octet-stream",
    ".gz": "application/gzip",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".otf": "font/otf",
    ".rss": "application/rss+xml",
    ".ttf": "font/ttf",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _suffix)


def _media_type(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return _TYPES.types_map[True].get(suffix, "application/octet-stream")


class Site(StaticFiles):
    """One directory as a web site."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory=directory, html=True, follow_symlink=False)
        self._root = os.path.realpath(directory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        try:
            response = await self.get_response(self.get_path(scope), scope)
        except HTTPException as e:
            response = PlainTextResponse(f"{e.detail}\n", e.status_code, dict(e.headers or {}))
        if response.status_code >= 400:
            response.headers["cache-control"] = REVALIDATE
        if isinstance(response, FileResponse) and int(response.headers["content-length"]) <= _SMALL:
            scope["extensions"] = {**(scope.get("extensions") or {}), "http.response.pathsend": {}}
            send = _sending_paths(send)
        await response(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):
            # Made from the normalised path: "//other.example/.." must not become a location.
            query = scope["query_string"].decode("latin-1")
            response.headers["location"] = f"/{quote(path)}/" + (f"?{query}" if query else "")
        return response

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        try:
            full_path, found = super().lookup_path(path)
        except ValueError:
            return "", None
        except OSError as e:
            if e.errno in _NOT_A_FILE:
                return "", None
            raise
        if found is None or is_hidden(path) or is_hidden(os.path.relpath(full_path, self._root)):
            return "", None
        return full_path, found

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = os.fspath(full_path)
        name = os.path.basename(path)
        asked = os.path.basename(self.get_path(scope))
        request = Headers(scope=scope)
        # A link "current.js" to a hashed file does mean other content one day.
        headers = {"cache-control": cache_control(name) if is_hashed(asked) else REVALIDATE}
        tag = ""
        variants = _variants(path)
        if variants:
            headers["vary"] = "Accept-Encoding"
            for encoding in accepted_encodings(request.get("accept-encoding", "")):
                if encoding in variants:
                    path, stat_result = variants[encoding]
                    headers["content-encoding"] = tag = encoding
                    break
        headers["etag"] = f'"{stat_result.st_mtime_ns:x}-{stat_result.st_size:x}{tag}"'
        response = FileResponse(
            path, status_code, headers, media_type=_media_type(name), stat_result=stat_result
        )
        if stat_result.st_size >= _LARGE:
            response.chunk_size = 256 * 1024
        if self.is_not_modified(response.headers, request):
            return NotModifiedResponse(response.headers)
        return response


def _sending_paths(send: Send) -> Send:
    """ASGI's ``http.response.pathsend`` for small files, which uvicorn lacks."""

    async def send_path(message: Message) -> None:
        if message["type"] == "http.response.pathsend":
            with open(message["path"], "rb") as file:
                message = {"type": "http.response.body", "body": file.read()}
        await send(message)

    return send_path


def _variants(path: str) -> dict[str, tuple[str, os.stat_result]]:
    """Precompressed files beside ``path``, by encoding; links are not followed."""
    found = {}
    for encoding, suffix in _SUFFIX.items():
        try:
            status = os.lstat(path + suffix)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[encoding] = (path + suffix, status)
    return found


def main(directory: str, port: int) -> None:
    """Serve until SIGTERM, then finish what is being sent."""
    if not os.path.isdir(directory):
        sys.exit(f"cannot serve {directory!r}: the release has no such directory")
    uvicorn.run(
        Site(directory),
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        timeout_keep_alive=75,  # longer than the edge keeps an idle connection: the edge closes first
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
