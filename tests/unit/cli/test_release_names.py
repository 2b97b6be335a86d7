"""What people write for a release."""

import pytest

from homeport.cli.progress import as_release


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("2", "r2"), ("r2", "r2"), ("R2", "r2"), ("10", "r10"),
        ("", ""), ("r", "r"), ("x2", "x2"), ("r2.1", "r2.1"), ("-1", "-1"), ("²", "²"), ("latest", "latest"),
    ],
)  # fmt: skip
def test_a_number_stands_for_its_release(text, release):
    assert as_release(text) == release
