"""The same as ``test_docs.py`` of the pages about data."""

import pytest
from pages import DATA_PAGES, DOCS, read


@pytest.mark.parametrize("name", DATA_PAGES)
def test_every_command_of_the_page_does_what_it_says(fresh_homeport, name):
    read(fresh_homeport, (DOCS / name).read_text("utf-8"))
