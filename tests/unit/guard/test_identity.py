"""Whom a commit's author is."""

import pytest

from homeport.guard.identity import HOMEPORT, LocalIdentities, Person, actor_of, is_author


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


def test_a_user_whose_login_is_homeport_is_not_homeport_itself_and_stays_the_same_person():
    actor = actor_of("homeport")
    assert actor != HOMEPORT and actor_of(actor) == actor and actor_of("anna") == "anna"
    assert LocalIdentities().person(actor) == Person("homeport")
    assert is_author(LocalIdentities().person(actor), "homeport <homeport@example.com>")
