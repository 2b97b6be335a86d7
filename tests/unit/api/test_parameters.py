"""What the API reads from the headers of a call."""

from pydantic import TypeAdapter

from homeport.api.parameters import Actor
from homeport.guard.identity import HOMEPORT


def test_nobody_who_calls_is_taken_for_homeport_itself():
    actor = TypeAdapter(Actor)
    assert actor.validate_python("homeport") != HOMEPORT
    assert actor.validate_python("anna") == "anna"
