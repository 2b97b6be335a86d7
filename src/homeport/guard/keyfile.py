"""The key file of a data directory, as the vault uses it: errors are for people, writes are atomic."""

import contextlib
from pathlib import Path

from homeport.guard.errors import KEY_UNUSABLE
from homeport.kernel.errors import HomeportError
from homeport.system import seal
from homeport.system.files import write_atomic


def unusable(error: seal.SealError) -> HomeportError:
    return KEY_UNUSABLE.error(error.sentence, hint=error.hint)


class KeyFile:
    """Keys, newest first; the first one seals."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether anything has its name, a dangling link included."""
        return self.path.is_symlink() or self.path.exists()

    def keys(self) -> tuple[bytes, ...]:
        """Raises ``guard.key_unusable``."""
        try:
            return seal.read_keys(str(self.path))
        except seal.SealError as e:
            raise unusable(e) from None

    def box(self) -> seal.Box:
        """Raises ``guard.key_unusable``."""
        try:
            return seal.Box(self.keys())
        except seal.SealError as e:
            raise unusable(e) from None

    def write(self, keys: tuple[bytes, ...]) -> None:
        """Replace the file, or make it. On the disk when this returns. Raises ``guard.key_unusable``."""
        try:
            write_atomic(self.path, b"".join(key + b"\n" for key in keys), mode=0o600)
        except OSError as e:
            raise KEY_UNUSABLE.error(f"cannot write {self.path}: {e.strerror}") from e

    def tidy(self) -> None:
        """Remove what a writer that was killed left beside the file: there may be keys in it."""
        for left in self.path.parent.glob(f".{self.path.name}.*"):
            with contextlib.suppress(OSError):
                left.unlink()
