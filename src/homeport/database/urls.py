"""URLs of the databases that we provision."""

from urllib.parse import quote, unquote, urlsplit


def url(user: str, password: str, port: int, database: str) -> str:
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{port}/{quote(database, safe='')}"


def user_and_password(text: str | None) -> tuple[str, str]:
    """Of a URL of ours; ("", "") for anything else."""
    try:
        parts = urlsplit(text or "")
        return unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return "", ""
