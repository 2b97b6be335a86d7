from typing import Any

import pytest

from homeport.backup.clone.model import Column
from homeport.backup.clone.suspects import by_name, by_values


def column(name: str, type_: str = "text", table: str = "things") -> Column:
    return Column("public", table, name, type_, type_)


@pytest.mark.parametrize(
    ("name", "type_", "what"),
    [
        ("email", "citext", "email"),
        ("contactEmail", "varchar", "email"),
        ("e_mail", "text", "email"),
        ("phone", "int8", "phone"),
        ("home_phone_number", "text", "phone"),
        ("first_name", "text", "name"),
        ("LastName", "text", "name"),
        ("full_name", "text", "name"),
        ("user_name", "text", "name"),
        ("billing_address_line1", "text", "address"),
        ("address", "jsonb", "address"),
        ("zip_code", "text", "address"),
        ("date_of_birth", "date", "date"),
        ("dob", "timestamp", "date"),
        ("lastSignInIP", "text", "ip"),
        ("node", "inet", "ip"),
        ("iban", "text", "number"),
        ("ssn", "numeric", "number"),
        ("tax_id", "text", "number"),
        ("passport_no", "text", "number"),
        ("reset_password_token", "text", "secret"),
        ("password_digest", "text", "secret"),
        ("api_key", "bytea", "secret"),
        ("emails", "_text", "email"),
    ],
)
def test_names_that_tell_of_people(name: str, type_: str, what: str) -> None:
    found = by_name(column(name, type_))
    assert found is not None and found.what == what


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("email_sent_at", "timestamptz"),
        ("email_sent_at", "text"),
        ("email_verified", "bool"),
        ("email_count", "int4"),
        ("email_template", "text"),
        ("address_id", "int8"),
        ("address_type", "text"),
        ("token_expires_at", "text"),
        ("phone_id", "int8"),
        ("name", "text"),
        ("description", "text"),
        ("zipped", "bool"),
        ("ship_date", "date"),
        ("recipe", "text"),
        ("tip", "text"),
        ("unipolar", "text"),
        ("mailing_list_id", "text"),
        ("mobile", "bool"),
        ("born", "bool"),
        ("secret_santa", "bool"),
        ("status", "text"),
        ("account_id", "int4"),
    ],
)
def test_names_that_do_not(name: str, type_: str) -> None:
    assert by_name(column(name, type_)) is None


def test_a_name_is_a_persons_in_a_table_of_people() -> None:
    assert by_name(column("name", table="users")) and by_name(column("name", table="shop_customers"))
    assert by_name(column("name", table="products")) is None


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (["a note", "ask anna@people.example about it"], "email"),
        (["+49 30 901820", "x", "+1 (212) 555-0100"], "phone"),
        (["192.0.2.7", "192.0.2.8"], "ip"),
        (["fe80::1", "2001:db8::17"], "ip"),
        (["DE89 3704 0044 0532 0130 00"], "number"),
        (["4111 1111 1111 1111"], "number"),
    ],
)
def test_values_that_tell_of_people(values: list[str], what: str) -> None:
    found = by_values(column("what"), values)
    assert found is not None and found.what == what


@pytest.mark.parametrize(
    "values",
    [
        ["2026-11-20", "2026-11-21"],
        ["1234-5678", "A-17"],
        ["1.2.3", "1.2.4"],
        ["10:30:00"],
        ["DE00370400440532013000"],
        ["4111111111111112"],
        ["12.50", "13"],
        ["@home", "user@host"],
        ["550e8400-e29b-41d4-a716-446655440000"],
        ["a:b:c", "1:2"],
        ["", " "],
    ],
)
def test_values_that_do_not(values: list[str]) -> None:
    assert by_values(column("what"), values) is None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"customer": {"email": "x"}}, 'by its key "email"'),
        ({"to": ["anna@people.example"]}, 'by the values of its key "to": they look like e-mail addresses'),
        ({"anna@people.example": True}, "by the values of its key"),
    ],
)
def test_documents_are_looked_into(document: Any, why: str) -> None:
    found = by_values(column("doc", "jsonb"), [{"size": 3}, document])
    assert found is not None and why in found.why
    assert by_values(column("doc", "jsonb"), [{"size": 3, "email_sent": True}]) is None


def test_the_line_to_add_names_schema_and_database_where_they_are_not_the_usual_ones() -> None:
    there = by_name(Column("crm", "people", "email", "text", "text"))
    assert there is not None
    assert there.line("reports") == '"reports:crm.people.email" = "email"'
    assert there.line("main") == '"crm.people.email" = "email"'
