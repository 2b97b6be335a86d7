"""Whether a SCRAM-SHA-256 verifier, as in ``pg_authid``, is that of a password (RFC 5802, RFC 7677). Pure."""

import base64
import binascii
import hashlib
import hmac


def matches(verifier: str | None, password: str) -> bool:
    """False as well for what is no verifier. ``password`` is ASCII, as ours are: no SASLprep."""
    if verifier is None:
        return False
    try:
        method, parameters, keys = verifier.split("$")
        iterations, salt = parameters.split(":")
        stored, _ = keys.split(":")
        salted = hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(salt, validate=True), int(iterations)
        )
        expected = base64.b64decode(stored, validate=True)
    except (ValueError, binascii.Error):
        return False
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return method == "SCRAM-SHA-256" and hmac.compare_digest(hashlib.sha256(client_key).digest(), expected)
