"""Supervisor's XML-RPC over its unix socket."""

import http.client
import socket
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeport.runtime.errors import UNREACHABLE

TIMEOUT = 15.0
"""Seconds for one call; supervisor answers in milliseconds when it lives."""
SHUTDOWN_STATE = 6
BAD_NAME = 10
ALREADY_ADDED = 90
Fault = xmlrpc.client.Fault
Call = tuple[str, tuple[Any, ...]]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def call(path: Path, method: str, *params: Any, timeout: float = TIMEOUT) -> Any:
    """One call. Raises Fault, and ``runtime.unreachable`` when nobody answers or it is shutting down."""
    body = xmlrpc.client.dumps(params, method)
    connection = _Connection(path, timeout)
    try:
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml", "Connection": "close"})
        response = connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"status {response.status}")
        answer = xmlrpc.client.loads(data)[0][0]
    except Fault as fault:
        if fault.faultCode == SHUTDOWN_STATE:
            raise unreachable(path, "it is shutting down") from fault
        raise
    except (OSError, http.client.HTTPException) as e:
        raise unreachable(path, str(e) or type(e).__name__) from e
    finally:
        connection.close()
    return answer


def call_all(path: Path, calls: Sequence[Call]) -> list[Any]:
    """Several calls in one request; each answer, or the Fault that it met, in order."""
    if not calls:
        return []
    batch = [{"methodName": method, "params": params} for method, params in calls]
    answers = []
    for answer in call(path, "system.multicall", batch):
        if isinstance(answer, dict) and "faultCode" in answer:
            fault = Fault(answer["faultCode"], answer["faultString"])
            if fault.faultCode == SHUTDOWN_STATE:
                raise unreachable(path, "it is shutting down")
            answers.append(fault)
        else:
            answers.append(answer)
    return answers


def unreachable(path: Path, why: str) -> Exception:
    return UNREACHABLE.error(
        f"cannot reach the supervisor at {path}: {why}",
        hint='"homeport up" starts it; what already serves goes on serving',
    )
