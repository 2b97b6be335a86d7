"""Secrets sealed for a passphrase that is not kept: what seals is a public key, which opens nothing (RFC 9180).

The private key follows from the passphrase and a salt by scrypt, so that the passphrase alone opens.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from homeport.backup.files.errors import NOT_SEALED_SO
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

FORMAT = 1
_COST = 2**15
"""scrypt's, with blocks of 8: 32 MB and about 0.1 s."""
_INFO = b"homeport secrets key"


@dataclass(frozen=True, slots=True)
class Recipient:
    salt: bytes
    public: bytes

    def text(self) -> str:
        return json.dumps({"format": FORMAT, "salt": _text(self.salt), "public": _text(self.public)})

    @staticmethod
    def of(text: str) -> Recipient:
        """Raises ValueError."""
        said = _document(text)
        return Recipient(_bytes(said, "salt"), _bytes(said, "public"))


def recipient(passphrase: Secret) -> Recipient:
    """With a salt of its own."""
    salt = os.urandom(16)
    return Recipient(salt, _private(passphrase, salt).public_key().public_bytes_raw())


def is_for(passphrase: Secret, recipient: Recipient) -> bool:
    """Whether the passphrase opens what is sealed for the recipient."""
    public: bytes = _private(passphrase, recipient.salt).public_key().public_bytes_raw()
    return public == recipient.public


def seal(data: bytes, recipient: Recipient) -> str:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    sealed = _suite().encrypt(data, X25519PublicKey.from_public_bytes(recipient.public), info=_INFO)
    return json.dumps({"format": FORMAT, "salt": _text(recipient.salt), "sealed": _text(sealed)}) + "\n"


def unseal(text: str, passphrase: Secret) -> bytes:
    """Raises ``backup.not_unsealed``."""
    from cryptography.exceptions import InvalidTag

    try:
        said = _document(text)
        salt, sealed = _bytes(said, "salt"), _bytes(said, "sealed")
    except ValueError as e:
        raise _not_opened("it is damaged, or of a newer Homeport") from e
    try:
        data: bytes = _suite().decrypt(sealed, _private(passphrase, salt), info=_INFO)
    except (InvalidTag, ValueError):
        raise _not_opened("the passphrase is not the one that it was sealed for") from None
    return data


def _not_opened(why: str) -> HomeportError:
    return NOT_SEALED_SO.error(
        f"cannot open the secrets' key of the backup: {why}",
        hint="the passphrase that was set last, when the backup was made, opens it",
    )


def _private(passphrase: Secret, salt: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    derived = Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.reveal().encode())
    return X25519PrivateKey.from_private_bytes(derived)


def _suite() -> Any:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _document(text: str) -> dict[str, Any]:
    said = json.loads(text)
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError("another format")
    return said


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes(said: dict[str, Any], key: str) -> bytes:
    value = said.get(key)
    if not isinstance(value, str):
        raise ValueError(f"no {key}")
    return b64decode(value, validate=True)
