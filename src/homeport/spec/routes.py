"""Route keys of ``homeport.toml``: ``host``, ``host/prefix``, ``*`` or ``*/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeport.spec.values import quoted, shown

ANY_HOST = "*"
_LONGEST_HOST = 253
_LONGEST_PREFIX = 200
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")


def read_route(key: str) -> tuple[str, str]:
    """Host and prefix of a route key, in the one form that :class:`~homeport.spec.model.Route` holds.

    Raises ValueError with a reason that begins with "must".
    """
    if "://" in key:
        rest = key.partition("://")[2]
        raise ValueError(f"must be a host without a scheme, such as {shown(rest or 'shop.example.com')}")
    if key.startswith("/"):
        raise ValueError(f"must begin with a host, or with * for any host: {shown('*' + key)}")
    host, slash, path = key.partition("/")
    return _host(host), _prefix(slash + path)


@dataclass(frozen=True, slots=True)
class Hosts:
    """An array of hosts, each once, in the form that routes hold."""

    words: str = "array of hosts"
    most: int = 100

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            example = f"[{quoted('staging.example.com')}]"
            raise ValueError(f"must be an array of hosts, such as {example}, got {_array(value)}")
        if len(value) > self.most:
            raise ValueError(f"must be at most {self.most} hosts, got {len(value)}")
        hosts: dict[str, None] = {}
        for item in value:
            if not isinstance(item, str):
                raise ValueError(f"must be an array of hosts in quotes, got {shown(item)} in it")
            host, prefix = read_route(item)
            if prefix != "/" or "/" in item:
                raise ValueError(f"must be hosts without a path, got {shown(item)}")
            if host in hosts:
                raise ValueError(f"must name each host once: {shown(host)} is there twice")
            hosts[host] = None
        return tuple(hosts)


@dataclass(frozen=True, slots=True)
class Host:
    """One host, in the form that routes hold."""

    words: str = "host"
    longest: int = _LONGEST_HOST

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f'must be a host, such as "shop.example.com", got {shown(value)}')
        host, _ = read_route(value)
        if "/" in value or host == ANY_HOST:
            raise ValueError(
                f'must be one host without a path, such as "shop.example.com", got {shown(value)}'
            )
        if len(host) > self.longest:
            raise ValueError(f"must be a host of at most {self.longest} characters, got {len(host)}")
        return host


@dataclass(frozen=True, slots=True)
class Domain:
    """A host below which there can be others, so no address."""

    words: str = "domain"
    longest: int = 170
    """What is put before it, a preview's name and an app's, leaves so much of a host."""

    def read(self, value: object) -> str:
        host = Host(longest=self.longest).read(value)
        if host.rpartition(".")[2].isdigit():
            raise ValueError(f'must be a domain, such as "preview.example.com", got {shown(value)}')
        return host


@dataclass(frozen=True, slots=True)
class Prefixes:
    """An array of URL path prefixes, each once, in the form that routes hold."""

    words: str = "array of URL path prefixes"
    most: int = 100

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(
                f"must be an array of URL paths, such as [{quoted('/login')}], got {_array(value)}"
            )
        if len(value) > self.most:
            raise ValueError(f"must be at most {self.most} URL paths, got {len(value)}")
        found: dict[str, None] = {}
        for item in value:
            if not isinstance(item, str) or not item.startswith("/"):
                raise ValueError(
                    f'must be URL paths that begin with "/", such as {quoted("/login")}, got {shown(item)} in it'
                )
            found[_prefix(item)] = None
        return tuple(found)


def _array(value: object) -> str:
    return "an empty array" if value == [] else shown(value)


def _host(text: str) -> str:
    if text == ANY_HOST:
        return text
    if not text:
        raise ValueError('must be a host, such as "shop.example.com", or "*" for any host')
    if "*" in text:
        raise ValueError(
            f'must be a whole host, or "*" for any host, got {shown(text)}: '
            "wildcard hosts are not in this version of Homeport yet"
        )
    if ":" in text:
        raise ValueError(
            f"must be a host name without a port (Homeport's own ports are set by `homeport up`), got {shown(text)}"
        )
    if len(text) > _LONGEST_HOST:
        raise ValueError(f"must be a host of at most {_LONGEST_HOST} characters, got {len(text)}")
    host = text.lower() if text.isascii() else _to_ascii(text)
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError(
            'must be a host name: letters, digits and inner hyphens, parted by ".", '
            f'such as "shop.example.com", got {shown(text)}'
        )
    return host


def _to_ascii(host: str) -> str:
    """The form of an international host that browsers send: UTS 46, then IDNA 2008."""
    import idna  # 15 ms that few files need

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(
            f"must be a host name, got {shown(host)}, which has no ASCII form: {str(error)[:200]}"
        ) from None


def _prefix(text: str) -> str:
    path = text.rstrip("/") if not text.endswith("//") else text[:-1]
    if not path:
        return "/"
    if "?" in path or "#" in path:
        raise ValueError(f'must have a path without "?" or "#", got {shown(text)}')
    if len(path) > _LONGEST_PREFIX:
        raise ValueError(f"must have a path of at most {_LONGEST_PREFIX} characters, got {len(path)}")
    segments = path[1:].split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f'must have a path without "//", "." or "..", got {shown(text)}')
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(
            f'must have a path of letters, digits and "-", ".", "_", "~" only, got {shown(text)}'
        )
    return path
