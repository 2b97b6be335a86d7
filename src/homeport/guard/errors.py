"""What can go wrong with secrets. No sentence, hint or detail holds a secret's value."""

from homeport.kernel.errors import Kind, declare

UNKNOWN_SECRET = declare(
    "guard.unknown_secret", Kind.NOT_FOUND, "The environment has no secret of that name, or not that version."
)
BAD_SECRET = declare(
    "guard.bad_secret",
    Kind.INVALID,
    "A secret's name is not that of a variable or is reserved, or its value cannot be one: empty, longer than "
    "64 KB, with a NUL byte, or not UTF-8.",
)
KEY_UNUSABLE = declare(
    "guard.key_unusable",
    Kind.MISSING_PART,
    "The key file is missing although there are secrets, can be read by others, or holds no keys.",
)
KEY_MISMATCH = declare(
    "guard.key_mismatch",
    Kind.MISSING_PART,
    "A secret was sealed with a key that the key file does not hold: it is the key file of another machine.",
)
ROTATION_UNFINISHED = declare(
    "guard.rotation_unfinished",
    Kind.CONFLICT,
    "The key was changed, but not everything could be sealed with the new one yet; both keys are kept.",
    retry=True,
)
SOURCE_FAILED = declare(
    "guard.source_failed",
    Kind.FAILED,
    "A secret's value could not be read from where the spec says: a file, or a command's output.",
    retry=True,
)
BAD_DOTENV = declare(
    "guard.bad_dotenv",
    Kind.INVALID,
    "A .env file has lines that cannot be read, or a value that it cannot hold.",
)
