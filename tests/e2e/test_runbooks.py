"""Every command of the runbooks, one after the other on the shop that one practises with."""

import pytest
from pages import DOCS, PRACTICE, RUNBOOKS, clear_of_the_hour, reading

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def reader():
    with reading() as reader:
        reader.read((DOCS / PRACTICE).read_text("utf-8"))
        yield reader


@pytest.mark.parametrize("name", RUNBOOKS)
def test_every_command_of_the_runbook_does_what_it_says(reader, name):
    clear_of_the_hour(300)
    reader.read((DOCS / name).read_text("utf-8"))
