"""What stands between this machine and a store, out of what pgBackRest or restic print. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from ipaddress import ip_address
from typing import NamedTuple

from homeport.kernel.errors import Kind, declare

CERTIFICATE = declare(
    "backup.store_certificate",
    Kind.UNAVAILABLE,
    "A store's certificate is not accepted, or the certificates that it is checked by cannot be read.",
    retry=True,
)


class What(Enum):
    CERTIFICATE = auto()
    SILENT = auto()
    """It is not reached, or speaks something else than TLS."""
    REFUSED = auto()
    NO_BUCKET = auto()


class Fault(NamedTuple):
    what: What
    why: str
    """Of a sentence that named the repository."""
    hint: str


MOUNT = "where a disk belongs there, mount it; homeport restore --repository NAME reads another repository"
_Make = Callable[[re.Match[str], str], Fault]
ADDRESS = "see that --endpoint has the right host and port, and that no firewall is in between"
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have to be of a key that may list, read, write and delete there"


def _fault(what: What, why: str, hint: str) -> _Make:
    return lambda _, where: Fault(what, why.format(where=where), hint)


def _other_host(match: re.Match[str], where: str) -> Fault:
    host = next((g for g in match.groups() if g), "") or where.rpartition(":")[0] or where
    hint = f"use the name that its certificate is for in --endpoint, or give the store one for {host}"
    if _is_ip(host):
        hint = "pgBackRest takes no IP address from a certificate: use its host name in --endpoint"
    return Fault(What.CERTIFICATE, f"the certificate of {where} is not for host {host}", hint)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


_FAULTS: tuple[tuple[str, _Make], ...] = (
    (
        r"unable to set user-defined CA certificate|unable to read root certificate|cannot parse root certificate",
        _fault(
            What.CERTIFICATE,
            "the file of --ca cannot be read, or holds no certificate",
            "--ca names a file of certificates (PEM) that is there, and that PostgreSQL's user may read too",
        ),
    ),
    (
        r"unable to find hostname '([^']+)' in certificate"
        r"|certificate is (?:valid for [^\n]*?, not|not valid for any names, but wanted to match) ([^\s\"]+)"
        r"|cannot validate certificate for (\S+) because|certificate relies on legacy Common Name",
        _other_host,
    ),
    (
        r"certificate has expired(?! or)|certificate has expired or is not yet valid: current time \S+ is after",
        _fault(
            What.CERTIFICATE, "the certificate of {where} has expired", "it has to be renewed at the store"
        ),
    ),
    (
        r"certificate is not yet valid|certificate has expired or is not yet valid: current time \S+ is before",
        _fault(
            What.CERTIFICATE,
            "the certificate of {where} is not valid yet",
            "see that this machine's clock is right: date",
        ),
    ),
    (
        r"unable to verify certificate presented by|signed by unknown authority",
        _fault(
            What.CERTIFICATE,
            "the certificate of {where} is signed by nobody whom this machine knows",
            "--ca FILE names the certificates of whoever signed it",
        ),
    ),
    (
        r"wrong version number|server gave HTTP response to HTTPS client|does not look like a TLS handshake",
        _fault(
            What.SILENT,
            "{where} answers without TLS",
            "name the port of its https in --endpoint; for a store without, put one that speaks TLS in front of it",
        ),
    ),
    (
        r"x509: |certificate verify failed|tls: [^\n]*certificate",
        _fault(
            What.CERTIFICATE,
            "the certificate of {where} is not accepted",
            "see the line below; --ca FILE names the certificates that it is checked by",
        ),
    ),
    (
        r"unable to get address for|no such host|server misbehaving|Name or service not known",
        _fault(
            What.SILENT,
            "there is no such host as {where}",
            "see that --endpoint is spelled right, and that this machine resolves names",
        ),
    ),
    (
        r"unable to connect to '[^']*': \[111\]|connection refused",
        _fault(What.SILENT, "nothing listens at {where}", ADDRESS),
    ),
    (
        r"unable to connect to '[^']*': (?:\[1(?:01|10|13)\]|timeout)|no route to host|network is unreachable"
        r"|dial tcp [^\n]*i/o timeout",
        _fault(What.SILENT, "{where} is not reached", ADDRESS),
    ),
    (
        r"<Code>NoSuchBucket</Code>|bucket does not exist|NoSuchBucket",
        _fault(
            What.NO_BUCKET,
            "{where} has no such bucket",
            "make the bucket at the store first, or name another by --bucket",
        ),
    ),
    (
        r"<Code>SignatureDoesNotMatch</Code>|signature we calculated does not match",
        _fault(
            What.REFUSED,
            "{where} refuses the secret key",
            "see that AWS_SECRET_ACCESS_KEY belongs to AWS_ACCESS_KEY_ID",
        ),
    ),
    (
        r"<Code>InvalidAccessKeyId</Code>|access key ID you provided does not exist|InvalidAccessKeyId",
        _fault(
            What.REFUSED,
            "{where} knows no such access key",
            "see that AWS_ACCESS_KEY_ID is one of this store's",
        ),
    ),
    (
        r"failed with 403|<Code>AccessDenied</Code>|Access Denied|AccessDenied|403 Forbidden",
        _fault(What.REFUSED, "{where} does not take the access key", KEYS),
    ),
)


def fault(text: str, where: str = "") -> Fault | None:
    """The first that is told. ``where``: the store's host, with a port if it has one of its own."""
    for pattern, make in _FAULTS:
        match = re.search(pattern, text)
        if match is not None:
            return make(match, where or "its store")
    return None
