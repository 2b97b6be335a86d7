"""Answers of web services that a team names: bounded in time and size."""

import time
import urllib.error
import urllib.request

_CHUNK = 1 << 16


class Unanswered(Exception):
    """Why there is no answer; says nothing of the address, which may hold a key."""


def get(url: str, *, timeout: float, limit: int) -> bytes:
    """The body of a 2xx answer to GET, after redirects. ``url`` is http or https. Raises :class:`Unanswered`."""
    if not url.startswith(("http://", "https://")):
        raise Unanswered("only http and https are asked")
    deadline = time.monotonic() + timeout
    request = urllib.request.Request(url, headers={"User-Agent": "homeport", "Accept": "*/*"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body = b""
            while chunk := answer.read1(_CHUNK):
                body += chunk
                if len(body) > limit:
                    raise Unanswered(f"the answer is larger than {limit} bytes")
                if time.monotonic() > deadline:
                    raise Unanswered("it took too long")
            return body
    except urllib.error.HTTPError as e:
        raise Unanswered(f"status {e.code}") from None
    except TimeoutError:
        raise Unanswered("it took too long") from None
    except (OSError, ValueError) as e:
        reason = getattr(e, "reason", e)
        raise Unanswered(getattr(reason, "strerror", None) or type(reason).__name__) from None
