"""Columns that look as if they told of people: by their names, and by a sample of their values. Pure.

Rather one too many: what is meant to stay is named with "keep".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from homeport.backup.clone.model import JSON, MOMENTS, REAL, TEXT, WHOLE, Column

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_WORDS: dict[str, str] = {
    **dict.fromkeys(("email", "mail", "emails"), "email"),
    **dict.fromkeys(("phone", "telephone", "mobile", "fax", "phones", "cellphone", "msisdn"), "phone"),
    **dict.fromkeys(("firstname", "lastname", "fullname", "surname", "forename", "nickname", "username"), "name"),
    **dict.fromkeys(("address", "addr", "addresses", "street", "postcode", "zip", "zipcode", "postal"), "address"),
    **dict.fromkeys(("ip", "ipaddr", "ipaddress"), "ip"),
    **dict.fromkeys(("birth", "birthday", "birthdate", "birthdays", "dob", "born"), "date"),
    **dict.fromkeys(
        ("password", "passwd", "pwd", "passphrase", "token", "tokens", "secret", "secrets", "apikey", "otp", "totp"),
        "secret",
    ),
    **dict.fromkeys(("ssn", "iban", "passport", "cvv", "taxid", "nin"), "number"),
}  # fmt: skip
_PAIRS: dict[tuple[str, str], str] = {
    **{(first, "name"): "name" for first in (
        "first", "last", "full", "given", "family", "middle", "maiden", "display", "user", "contact", "customer",
        "billing", "shipping", "recipient", "sender", "card", "cardholder", "holder", "legal", "real", "login",
        "patient", "employee", "member", "guest", "author", "owner",
    )},
    ("date", "birth"): "date",
    ("place", "birth"): "address",
    ("national", "id"): "number",
    ("tax", "id"): "number",
    ("tax", "number"): "number",
    ("vat", "number"): "number",
    ("license", "number"): "number",
    ("licence", "number"): "number",
    ("card", "number"): "number",
    ("account", "number"): "number",
    ("social", "security"): "number",
    ("api", "key"): "secret",
    ("private", "key"): "secret",
    ("access", "key"): "secret",
}  # fmt: skip
_PEOPLE = frozenset((
    "user", "person", "people", "customer", "contact", "patient", "employee", "member", "client", "guest",
    "profile", "subscriber", "lead", "author", "applicant", "candidate", "student", "teacher", "attendee",
    "participant", "recipient", "buyer", "visitor", "admin", "staff", "driver",
))  # fmt: skip
_ABOUT = frozenset((
    "id", "ids", "uuid", "type", "kind", "status", "state", "count", "template", "templates", "subject",
    "format", "at", "on", "verified", "confirmed", "enabled", "disabled", "sent", "version", "provider",
    "expires", "expiry", "valid", "bounced", "optin", "consent",
))  # fmt: skip
"""A name that ends so tells of the thing, and is not the thing: email_sent_at, address_id, token_type."""
_PERSONAL_ID = frozenset({("national", "id"), ("tax", "id")})

EMAIL = re.compile(r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(
    r"(?:\+|00)[1-9][0-9 ()./-]{6,18}[0-9]|0[1-9][0-9]{1,4}[ /-][0-9 -]{4,10}[0-9]|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}"
)
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])")
_IPV6 = re.compile(
    r"(?=.*[0-9a-fA-F])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}:){2,6}:[0-9a-fA-F:]*"
)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")
SHARE = 0.2
"""Of the values in a sample: less is chance, as check digits are. One e-mail address is enough."""


@dataclass(frozen=True, slots=True)
class Suspect:
    column: Column
    what: str
    """"email", "phone", "name", "address", "ip", "date", "secret", "number"."""
    why: str

    def line(self, database: str) -> str:
        """For ``[backup.mask]``."""
        return f'"{self.column.shown(database)}" = "{self.rule}"'

    @property
    def rule(self) -> str:
        type_ = self.column.type
        if type_ in TEXT:
            return {"secret": "hash", "number": "hash", "date": "text", "ip": "ip"}.get(self.what, self.what)
        if type_ in WHOLE | REAL:
            return "number"
        if type_ in MOMENTS:
            return "date"
        if type_ in ("inet", "cidr"):
            return "ip"
        return "keep" if self.column.not_null else "null"


def words(name: str) -> tuple[str, ...]:
    """``lastSignInIP`` is last, sign, in, ip."""
    return tuple(w.lower() for w in _WORD.findall(name))


def by_name(column: Column) -> Suspect | None:
    """By its name, where its type could hold such a thing."""
    if column.generated:
        return None
    if column.type in ("inet", "cidr", "macaddr", "macaddr8"):
        return Suspect(column, "ip", f"is of type {column.type}")
    what = _named(column)
    if what is None or not _could_hold(column.type, what):
        return None
    return Suspect(column, what, "by its name")


def _named(column: Column) -> str | None:
    found = words(column.name)
    if not found:
        return None
    pairs = set(pairwise(found))
    if found[0] == "date" and "birth" in found:
        pairs.add(("date", "birth"))
    if found[-1] in _ABOUT and not (pairs & _PERSONAL_ID and found[-2:] in _PERSONAL_ID):
        return None
    for word in found:
        if word in _WORDS:
            return _WORDS[word]
    for pair in pairs:
        if pair in _PAIRS:
            return _PAIRS[pair]
    if found in (("name",), ("names",)) and any(_singular(w) in _PEOPLE for w in words(column.table)):
        return "name"
    return None


def _singular(word: str) -> str:
    return word.removesuffix("s") if word not in _PEOPLE else word


def _could_hold(type_: str, what: str) -> bool:
    if type_.removeprefix("_") in TEXT | JSON | {"bytea", "hstore", "xml"}:
        return True
    if what == "date":
        return type_ in MOMENTS
    return what in ("phone", "number") and type_ in ("int8", "numeric")


_TELLS_NOTHING = frozenset((
    "bool", "uuid", "oid", "bytea", "time", "timetz", "interval", "bit", "varbit", "tsvector", "tsquery", "point",
    "line", "lseg", "box", "path", "polygon", "circle", "pg_lsn", "inet", "cidr", "macaddr", "macaddr8", "char",
    "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
)) | WHOLE | REAL | MOMENTS  # fmt: skip


def is_told_by_values(column: Column) -> bool:
    """Texts, and whatever is not known, such as a type of the app's own."""
    return not column.generated and column.type.removeprefix("_") not in _TELLS_NOTHING


def by_values(column: Column, values: Sequence[Any]) -> Suspect | None:
    """By a sample of its values, without nulls: text, or what JSON holds."""
    if column.generated or not values:
        return None
    if column.type in JSON:
        return _by_documents(column, values)
    texts = [str(v) for v in values if str(v).strip()]
    what = _told(texts)
    return Suspect(column, what, f"by its values: {_SAID[what]}") if what else None


_SAID = {
    "email": "they look like e-mail addresses",
    "phone": "they look like phone numbers",
    "ip": "they look like IP addresses",
    "number": "they look like account or card numbers",
}


def _told(texts: Sequence[str]) -> str | None:
    if not texts:
        return None
    if any(EMAIL.search(t) for t in texts):
        return "email"
    many = max(1.0, len(texts) * SHARE)
    if sum(_is_iban(t.strip()) or _is_card(t.strip()) for t in texts) >= many:
        return "number"
    for what, pattern in (("ip", _IPV4), ("ip", _IPV6), ("phone", _PHONE)):
        if sum(pattern.fullmatch(t.strip()) is not None for t in texts) >= many:
            return what
    return None


def _by_documents(column: Column, values: Iterable[Any]) -> Suspect | None:
    texts: dict[str, list[str]] = {}
    for value in values:
        _flatten(value, "", texts)
    for key in sorted(texts):
        inner = Column(column.schema, column.table, key, "text", "text")
        named = by_name(inner)
        if named is not None and any(t for t in texts[key]):
            return Suspect(column, named.what, f'by its key "{key}"')
    for key in sorted(texts):
        what = _told([t for t in texts[key] if t.strip()])
        if what is not None:
            return Suspect(column, what, f'by the values of its key "{key}": {_SAID[what]}')
    return None


def _flatten(value: Any, key: str, into: dict[str, list[str]]) -> None:
    if isinstance(value, Mapping):
        for k, v in value.items():
            # A key may itself be a value: {"anna@example.org": …}.
            into.setdefault("", []).append(str(k))
            _flatten(v, str(k)[:60], into)
    elif isinstance(value, list):
        for v in value:
            _flatten(v, key, into)
    elif value is not None and not isinstance(value, bool):
        into.setdefault(key, []).append(str(value)[:2000])


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    if _IBAN.fullmatch(plain) is None:
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _is_card(text: str) -> bool:
    if _CARD.fullmatch(text) is None or text[0] not in "23456":
        return False
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if n % 2 == 0 else d * 2 - 9 * (d > 4) for n, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
