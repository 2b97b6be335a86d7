"""What instances see, and what is wrong with it."""

from homeport.kernel.ids import EnvironmentName, ReleaseId
from homeport.rollout import config as configuration
from homeport.rollout.model import Config
from homeport.spec.parse import parse

SPEC = parse(
    """
[app]
name = "shop"
[processes.web]
command = "x"
[routes]
"shop.example" = "web"
[variables]
LOG_LEVEL = "info"
CURRENCY = { one_of = ["EUR", "USD"], default = "EUR", description = "what prices are in" }
STRIPE_KEY = { required = true, secret = true, pattern = "^sk_", description = "for payments" }
WORKERS = { required = true, type = "int" }
[environments.staging.variables]
LOG_LEVEL = "debug"
[environments.production]
"""
)
STAGING, PRODUCTION, R3 = EnvironmentName("staging"), EnvironmentName("production"), ReleaseId("r3")


def test_each_value_with_its_origin():
    config = Config.of({"WORKERS": "4"}, {"STRIPE_KEY": 2})
    found = {s.name: s for s in configuration.settings(SPEC, STAGING, R3, "web", config)}
    assert (found["LOG_LEVEL"].value, found["LOG_LEVEL"].origin) == ("debug", "environment")
    assert (found["CURRENCY"].value, found["CURRENCY"].origin) == ("EUR", "app")
    assert found["CURRENCY"].description == "what prices are in"
    assert (found["WORKERS"].value, found["WORKERS"].origin) == ("4", "set by hand")
    key = found["STRIPE_KEY"]
    assert (key.value, key.version, key.origin) == (None, 2, "secret")
    assert (found["HOMEPORT_RELEASE"].value, found["HOMEPORT_RELEASE"].origin) == ("r3", "Homeport")
    assert found["PORT"].origin == "Homeport"


def test_what_an_environment_does_not_say_is_the_apps():
    found = {s.name: s for s in configuration.settings(SPEC, PRODUCTION, R3, "web", Config())}
    assert (found["LOG_LEVEL"].value, found["LOG_LEVEL"].origin) == ("info", "app")


def test_all_problems_at_once_and_no_secret_is_told():
    spec = SPEC.for_environment("production")
    found = configuration.problems(
        spec, {"WORKERS": "many", "CURRENCY": "GBP"}, {"STRIPE_KEY": "pk_hush_hush"}
    )
    text = "\n".join(found)
    assert len(found) == 3
    assert all(name in text for name in ("WORKERS", "CURRENCY", "STRIPE_KEY"))
    assert "hush" not in text


def test_what_is_required_says_how_to_set_it():
    text = "\n".join(configuration.problems(SPEC.for_environment("production"), {}, {}))
    assert "homeport secrets set STRIPE_KEY" in text and "homeport env set WORKERS=" in text
    assert "for payments" in text


def test_a_secret_in_clear_is_refused():
    found = configuration.problems(SPEC, {"STRIPE_KEY": "sk_1", "WORKERS": "1"}, {})
    assert len(found) == 1 and "homeport env unset STRIPE_KEY" in found[0] and "sk_1" not in found[0]
