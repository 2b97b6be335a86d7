"""Secrets at rest: text sealed with the keys of a key file, by Fernet (AES-128-CBC and HMAC-SHA256).

The launcher of instances and the log daemon load this file by its path, in an interpreter without
Homeport's packages: so it imports nothing of Homeport's, and ``cryptography`` only when it seals or opens.

A key file holds one key to a line, the newest first: what is sealed is sealed with the first, and opened
with any. While it holds more than one, a change of keys is under way.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

KEY_FILE = "secrets.key"
KEY_BYTES = 44
"""32 bytes in URL-safe base64."""
_PUT_BACK = "put back the key file of this data directory: nothing else opens its secrets"


class SealError(Exception):
    """A key file that cannot be used, or a token that its keys do not open.

    ``sentence`` begins with "cannot"; ``hint`` says what to do.
    """

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class NoKey(SealError):
    """There is no key file."""


class WrongKey(SealError):
    """A token that none of the keys opens."""


def new_key() -> bytes:
    from cryptography.fernet import Fernet

    return Fernet.generate_key()


def read_keys(path: str) -> tuple[bytes, ...]:
    """The keys of a key file. Raises SealError when it is missing, others may read it, or it holds no keys."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NoKey(f"cannot open {path}: there is no such file", _PUT_BACK) from None
    except OSError as e:
        why = "it is a link" if e.errno == errno.ELOOP else e.strerror
        raise SealError(f"cannot open {path}: {why}", _PUT_BACK) from e
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SealError(f"cannot use {path}: it is no regular file")
        if status.st_mode & 0o077:
            raise SealError(
                f"cannot use {path}: others may read it (mode {status.st_mode & 0o777:04o})",
                f"chmod 600 {path}; if others could have read it: homeport secrets rotate-key",
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise SealError(f"cannot use {path}: it belongs to user {status.st_uid}", f"chown it: {path}")
        lines = os.read(fd, 64 * 1024).split()
    finally:
        os.close(fd)
    if not lines or any(len(line) != KEY_BYTES for line in lines):
        raise SealError(f"cannot use {path}: it holds no keys", _PUT_BACK)
    return tuple(lines)


class Box:
    """Seals and opens with the keys of :func:`read_keys`."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            self._fernet: Any = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise SealError("cannot use the key file: what it holds are no keys") from None

    def seal(self, text: str) -> str:
        token: bytes = self._fernet.encrypt(text.encode("utf-8"))
        return token.decode("ascii")

    def open(self, token: str, what: str = "a secret") -> str:
        """Raises WrongKey, which names ``what``."""
        from cryptography.fernet import InvalidToken

        try:
            text: bytes = self._fernet.decrypt(token.encode("ascii", "replace"))
        except InvalidToken:
            raise WrongKey(f"cannot open {what}: it was sealed with another key", _PUT_BACK) from None
        return text.decode("utf-8")

    def reseal(self, token: str) -> str:
        """The same text sealed with the first key. Raises WrongKey."""
        return self.seal(self.open(token))


def open_all(path: str, tokens: Callable[[], Mapping[str, str]]) -> dict[str, str]:
    """What ``tokens`` gives, opened, by the same names, with the key file at ``path``.

    A change of keys may come between reading tokens and reading keys: then both are read again.
    Raises SealError, or WrongKey, which names the first that the keys do not open.
    """
    attempts = 3
    while True:
        attempts -= 1
        sealed = tokens()
        if not sealed:
            return {}
        box = Box(read_keys(path))
        try:
            return {name: box.open(token, name) for name, token in sealed.items()}
        except WrongKey:
            if attempts == 0:
                raise
