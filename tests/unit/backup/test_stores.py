"""What keeps this machine from a store, as pgBackRest 2.45 and restic 0.14 say it, and what people are told."""

import json

import pytest

from homeport.backup.files import parse as restic
from homeport.backup.physical import parse as pgbackrest

STORE = "s3.example.com:8443"
GET = f'Fatal: unable to open config file: Stat: Get "https://{STORE}/b/?location=": '
AFTER = "x509: certificate has expired or is not yet valid: current time 2026-11-22T03:37:59Z is after 2026-11-21T03:35:56Z"
BEFORE = AFTER.replace("after", "before")
ANSWER = (
    "HTTP request failed with 403 (Forbidden):\n*** Response Content ***:\n<Error><Code>{}</Code></Error>"
)

CASES = {
    "host": (
        95,
        "unable to find hostname 's3.example.com' in certificate common name or subject alternative names",
        "x509: certificate is valid for example.com, not s3.example.com",
        "store_certificate",
        f"the certificate of {STORE} is not for host s3.example.com",
        "the name that its certificate is for",
    ),
    "expired": (
        95,
        f"unable to verify certificate presented by '{STORE}': [10] certificate has expired",
        AFTER,
        "store_certificate",
        f"the certificate of {STORE} has expired",
        "renewed",
    ),
    "future": (
        95,
        f"unable to verify certificate presented by '{STORE}': [9] certificate is not yet valid",
        BEFORE,
        "store_certificate",
        f"the certificate of {STORE} is not valid yet",
        "clock",
    ),
    "signer": (
        95,
        f"unable to verify certificate presented by '{STORE}': [18] self-signed certificate",
        'x509: certificate signed by unknown authority (possibly because of "x509: ECDSA verification failure")',
        "store_certificate",
        f"the certificate of {STORE} is signed by nobody whom this machine knows",
        "--ca FILE",
    ),
    "file": (
        95,
        "unable to set user-defined CA certificate location: [92274824] no certificate or crl found",
        'cannot parse root certificate from "/tmp/junk.pem"\ngithub.com/restic/restic/internal/backend.Transport',
        "store_certificate",
        "the file of --ca cannot be read",
        "PEM",
    ),
    "plain": (
        101,
        "TLS error [1:167772427] wrong version number",
        "http: server gave HTTP response to HTTPS client",
        "silent",
        f"{STORE} answers without TLS",
        "port of its https",
    ),
    "closed": (
        49,
        f"unable to connect to '{STORE}': [111] Connection refused",
        "dial tcp 127.0.0.1:8443: connect: connection refused",
        "silent",
        f"nothing listens at {STORE}",
        "--endpoint",
    ),
    "name": (
        49,
        "unable to get address for 's3.example.com': [-2] Name or service not known",
        "dial tcp: lookup s3.example.com on 10.0.0.1:53: no such host",
        "silent",
        f"there is no such host as {STORE}",
        "--endpoint",
    ),
    "bucket": (
        39,
        ANSWER.format("NoSuchBucket").replace("403 (Forbidden)", "404 (Not Found)"),
        "The specified bucket does not exist",
        "bucket",
        f"{STORE} has no such bucket",
        "make the bucket",
    ),
    "key": (
        39,
        ANSWER.format("InvalidAccessKeyId"),
        "The access key ID you provided does not exist in our records.",
        "refused",
        f"{STORE} knows no such access key",
        "AWS_ACCESS_KEY_ID",
    ),
    "secret": (
        39,
        ANSWER.format("SignatureDoesNotMatch"),
        "The request signature we calculated does not match the signature you provided.",
        "refused",
        f"{STORE} refuses the secret key",
        "AWS_SECRET_ACCESS_KEY",
    ),
    "rights": (
        39,
        "HTTP request failed with 403 (Forbidden):",
        "Access Denied.",
        "refused",
        f"{STORE} does not take the access key",
        "AWS_ACCESS_KEY_ID",
    ),
}
CODES = {
    "store_certificate": ("store_certificate", "store_certificate"),
    "silent": ("repository_unreachable", "store_not_answering"),
    "refused": ("store_refuses", "store_refused"),
    "bucket": ("no_bucket", "store_refused"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_with_the_store_s_host_and_what_to_do(name: str) -> None:
    status, backrest, go, code, why, hint = CASES[name]
    stanza = {"name": "main", "repo": [{"status": {"code": 99, "message": f"[CryptoError] {backrest}"}}]}
    listed = json.dumps([stanza | {"backup": [], "db": []}])
    for opened in (False, True):
        told = pgbackrest.verdict(status, f"ERROR: [{status:03}]: {backrest}", opened=opened, where=STORE)
        assert (told.type.code, told.details[:1] != ()) == (f"backup.{CODES[code][0]}", True)
        assert why in told.why and hint in told.hint
    info = pgbackrest.problem(pgbackrest.message(listed), STORE)
    assert (info.type, info.why, info.hint) == (told.type, told.why, told.hint)
    assert why in pgbackrest.look(listed, "far", STORE).problem

    said = restic.verdict(go if name == "file" else f"{GET}{go}", STORE)
    assert (said.type.code, said.details[:1] != ()) == (f"backup.{CODES[code][1]}", True)
    assert why in said.why and hint in said.hint


@pytest.mark.parametrize(
    "said",
    [
        "unable to find hostname '10.0.0.7' in certificate common name or subject alternative names",
        "unable to find hostname '::1' in certificate common name or subject alternative names",
    ],
)
def test_an_address_instead_of_a_name_is_what_pgbackrest_does_not_take(said: str) -> None:
    told = pgbackrest.verdict(95, f"ERROR: [095]: {said}", where="10.0.0.7")
    assert told.type.code == "backup.store_certificate"
    assert "pgBackRest takes no IP address from a certificate: use its host name" in told.hint


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (95, "ERROR: [095]: unable to flush: [101077092] bad decrypt"),
        (95, "ERROR: [095]: cipher header invalid"),
        (41, "ERROR: [041]: raised from local-1 protocol: CryptoError: unable to flush"),
        (29, "ERROR: [029]: x\n FormatError: key/value found outside of section at line 1: }"),
    ],
)
def test_what_cannot_be_decrypted_is_still_told_as_that(status: int, text: str) -> None:
    assert pgbackrest.verdict(status, text, where=STORE).type.code == "backup.wrong_passphrase"


def test_without_a_host_it_is_the_store() -> None:
    assert restic.verdict("Access Denied").why == "its store does not take the access key"
