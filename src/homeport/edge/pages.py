"""What the edge itself answers when no app does: small pages for people, RFC 9457 for programs."""

import html
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    title: str
    detail: str


NOT_FOUND = Page(404, "Not Found", "Nothing is served at this address.")
BAD_GATEWAY = Page(502, "Bad Gateway", "The application broke off before it answered.")
UNAVAILABLE = Page(
    503, "Service Unavailable", "The application cannot answer just now. Try again in a moment."
)
TIMEOUT = Page(504, "Gateway Timeout", "The application took too long to answer.")
BAD_REQUEST = Page(400, "Bad Request", "The request is not valid HTTP.")
REQUEST_TIMEOUT = Page(408, "Request Timeout", "The request took too long to arrive.")
INTERNAL = Page(500, "Internal Server Error", "The request could not be handled.")

BY_ACCEPT = (NOT_FOUND, BAD_GATEWAY, UNAVAILABLE, TIMEOUT)
"""Pages that follow the request's Accept header and carry the request id."""
STATIC = (BAD_REQUEST, REQUEST_TIMEOUT, INTERNAL)
"""HAProxy sends these before it has a request to look at, so they are HTML always."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center;"
    "background:#fafafa;color:#222}main{max-width:32rem;padding:2rem}h1{font-size:1.5rem;margin:0 0 .5rem}"
    "p{margin:.5rem 0}small,code{color:#595959;overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}small,code{color:#aaa}}"
)


def _html_head(page: Page) -> str:
    return _head(f"{page.status} {page.title}", f"<p>{page.detail}</p>")


def _head(title: str, text: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{text}"
    )


_REFERENCE = "<p><small>Reference <code>"
_REFERENCE_END = "</code></small></p>"
_HTML_END = "</main></body></html>"


def entries() -> dict[str, str]:
    """Key to text, for HAProxy's map of pages: ``503`` is all that comes before the request id.

    ``503.json`` is the same as a problem document; ``end`` and ``end.json`` come after the id. Values
    are one line each.
    """
    texts = {}
    for page in BY_ACCEPT:
        texts[f"{page.status}"] = _html_head(page) + _REFERENCE
        texts[f"{page.status}.json"] = _document_head(page)
    texts["end"] = _REFERENCE_END + _HTML_END
    texts["end.json"] = '"}'
    return texts


def _document_head(page: Page) -> str:
    fields = {"type": "about:blank", "title": page.title, "status": page.status, "detail": page.detail}
    return json.dumps(fields, ensure_ascii=False)[:-1] + ', "request_id": "'


def notice(title: str, message: str) -> tuple[str, str]:
    """What people wrote, up to the request id, as a page and as a problem document; each one line.

    ``message`` comes out exactly, line breaks too, and is never markup.
    """
    text = html.escape(message).replace("\n", "&#10;").replace("\t", "&#9;")
    return (
        _head(title, f'<p style="white-space:pre-wrap">{text}</p>') + _REFERENCE,
        _document_head(Page(UNAVAILABLE.status, UNAVAILABLE.title, message)),
    )


OWN_PAGE_ACTION = "homeport_own_page"
OWN_PAGE_PROGRAM = f"""\
-- Answers with an app's own maintenance page byte by byte: HAProxy's lf-string writes line breaks as %0A.
core.register_action("{OWN_PAGE_ACTION}", {{"http-req"}}, function(txn)
    local reply = txn:reply{{status = {UNAVAILABLE.status}, reason = "{UNAVAILABLE.title}"}}
    reply:add_header("content-type", "text/html; charset=utf-8")
    reply:add_header("cache-control", "no-store")
    reply:add_header("retry-after", txn:get_var("txn.retry"))
    reply:set_body(txn.c:b64dec(txn:get_var("txn.page")))
    txn:done(reply)
end)
"""


def raw_response(page: Page) -> str:
    """A whole HTTP response, as HAProxy's ``errorfile`` wants it."""
    body = _html_head(page) + _HTML_END + "\n"
    return (
        f"HTTP/1.1 {page.status} {page.title}\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n"
        f"Cache-Control: no-store\r\n"
        f"Content-Length: {len(body.encode())}\r\n"
        f"Connection: close\r\n\r\n{body}"
    )
