"""Whom a commit's author is."""

import pytest

from homeport.guard.identity import LocalIdentities, Person, is_author


@pytest.mark.parametrize(
    ("author", "person", "same"),
    [
        ("Anna <anna@example.com>", "anna", True),
        ("Anna <anna@example.com>", "Anna", True),
        ("Anna Smith <asmith@example.com>", "asmith", True),
        ("Anna Smith <asmith@example.com>", "anna smith", True),
        ("asmith@example.com", "asmith", True),
        ("ASmith", "asmith", True),
        ("Anna <anna@example.com>", "ann", False),
        ("Anna <anna@example.com>", "example.com", False),
        ("", "", False),
        ("", "anna", False),
        ("<>", "anna", False),
    ],
)
def test_the_author(author, person, same):
    assert is_author(Person(person), author) is same


def test_local_users_may_do_everything():
    identities = LocalIdentities()
    assert identities.person("anna") == Person("anna")
    assert identities.may(Person("anna"), "approve", "shop", "production")
