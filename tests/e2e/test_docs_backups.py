"""The same as ``test_docs.py`` of the pages about backups, one after the other on one Homeport."""

import pytest
from pages import BACKUP_PAGES, DOCS, clear_of_the_hour, reading

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def reader():
    with reading() as reader:
        yield reader


@pytest.mark.parametrize("name", BACKUP_PAGES)
def test_every_command_of_the_page_does_what_it_says(reader, name):
    clear_of_the_hour(300)
    reader.run(f"cd {reader.home}")
    reader.read((DOCS / name).read_text("utf-8"))
