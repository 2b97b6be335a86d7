"""Which app and environment a command means."""

from dataclasses import replace
from pathlib import Path

import pytest

from homeport.cli.context import Session
from homeport.kernel.errors import HomeportError


@pytest.fixture
def here(cli, tmp_path: Path):
    session = replace(cli.session, directory=tmp_path, app_option=None, environment_option=None)

    def written(text: str) -> Session:
        (tmp_path / "homeport.toml").write_text(text)
        return session

    return written


@pytest.mark.parametrize(
    "rest",
    ["", '[web]\ncommand = 5\n[nonsense]\n"', '[web]\ncommand = "un', "= \n", '[app]\nname = "again"\n'],
    ids=["whole", "of wrong kinds", "not closed", "no key", "told twice"],
)
def test_app_and_environment_hold_though_the_rest_is_being_edited(here, rest: str) -> None:
    session = here(f'[app]  # ours\nname = "shop"\nenvironment = "staging"\n{rest}')
    assert (session.app, session.environment) == ("shop", "staging")


def test_without_a_word_it_is_production(here) -> None:
    assert (
        here('[app]\nname = "shop"\n[environments.staging]\nenvironment = "x"\n').environment == "production"
    )


@pytest.mark.parametrize("told", ["5", '""', '"Not A Name"', "true", '["staging"]'])
def test_an_environment_that_is_none_is_not_taken_for_production(here, told: str) -> None:
    with pytest.raises(HomeportError, match="environment's name"):
        _ = here(f'[app]\nname = "shop"\nenvironment = {told}\n').environment
