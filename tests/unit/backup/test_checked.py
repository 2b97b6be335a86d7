"""A record is what was written, or it is none."""

import json

import pytest

from homeport.backup import checked

DOCUMENT = {
    "point": "p",
    "rows": 1000,
    "seconds": 1.25,
    "tables": ({"name": "størrelse", "digest": "-77"},),
    "at": None,
}


def test_it_is_read_as_it_was_kept() -> None:
    assert checked.document(json.loads(checked.text(DOCUMENT))) == json.loads(json.dumps(DOCUMENT))


def test_a_flipped_bit_is_found_wherever_the_text_is_still_json() -> None:
    text = checked.text(DOCUMENT).encode()
    survived = 0
    for place in range(len(text)):
        for bit in range(7):
            broken = bytearray(text)
            broken[place] ^= 1 << bit
            try:
                found = json.loads(broken)
                if found == json.loads(text):
                    continue  # of a blank, or of a letter's case in an escape
                left = checked.document(found)
            except ValueError:
                continue
            # Where the key itself is hit there is none, and one that nobody knows instead.
            assert set(left) - set(DOCUMENT), bytes(broken)
            survived += 1
    assert survived < 7 * len("sha256")


def test_one_that_was_made_before_is_taken() -> None:
    assert checked.document({"rows": 1}) == {"rows": 1}
    with pytest.raises(TypeError):
        checked.document([1])
