"""``.env`` files: every bad line at once, and what is written reads back the same."""

import io

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.guard import dotenv
from homeport.kernel.errors import HomeportError


def bad(text):
    with pytest.raises(HomeportError) as e:
        dotenv.parse(text)
    assert e.value.code == "guard.bad_dotenv"
    return e.value.details


def test_the_usual_spellings_are_read():
    text = (
        "\ufeff# a comment\n\nA=plain # comment\nexport B='single $A \\n'\r\nC=\"two\\nlines\" # x\n"
        'D="over\nlines"\nE=\nF = spaced \nG=${A}\nH=a#b\nA=again\n'
    )
    assert dotenv.parse(text) == (
        ("B", "single $A \\n"),
        ("C", "two\nlines"),
        ("D", "over\nlines"),
        ("E", ""),
        ("F", "spaced"),
        ("G", "${A}"),
        ("H", "a#b"),
        ("A", "again"),
    )
    assert dotenv.parse("") == () and dotenv.parse("# only\n\n") == ()


def test_every_bad_line_is_told_with_its_number_and_nothing_of_it():
    details = bad(
        "A=1\n\n\nsecretword\nB='ok\nstill'\n1C=secretword\nD='x' secretword\n\nE=\"secretword\na.b=x\n"
    )
    assert [line.split(":")[0] for line in details] == ["line 4", "line 7", "line 8", "line 10", "line 11"]
    assert "secretword" not in "".join(details)


def test_a_nul_byte_is_a_bad_line():
    assert bad("A=x\0y\n") == ("line 1: holds a NUL byte",)


@pytest.mark.parametrize(
    "text",
    [
        'A="x\n' * 100_001 + "B",
        "A=" + " " * 200_000 + "x",
        "A='" + "\\'" * 300_000,
        'A="\\"' * 150_000,
        "=\n" * 300_000,
        "A" * 900_000,
        "x" * 1_000_001,
    ],
)
def test_a_hostile_file_is_refused_before_long(text):
    assert len(bad(text)) <= dotenv.MAX_PROBLEMS + 1


def test_names_and_values_that_no_file_can_hold_are_refused():
    for name, value in (("A B", "x"), ("A=B", "x"), ("A", "x\0"), ("A", "\udc80"), ("A\n", "x")):
        with pytest.raises(HomeportError) as e:
            dotenv.render([(name, value)])
        assert e.value.code == "guard.bad_dotenv"


def test_simple_values_are_written_simply():
    pairs = [("A", "plain"), ("B", ""), ("C", "two words"), ("D", "it's"), ("E", "$HOME"), ("F", "a\\b")]
    assert dotenv.render(pairs) == "A=plain\nB=''\nC='two words'\nD=\"it's\"\nE='$HOME'\nF='a\\b'\n"


hard = st.text(st.sampled_from("'\"\\$`#\n\r ab{}()!~*=;&|<>%.\tπ\u00a0\u2028\x01\x7f"), max_size=12)
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
variables = st.lists(
    st.tuples(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), st.one_of(hard, anything)),
    unique_by=lambda pair: pair[0],
    max_size=5,
)


@settings(max_examples=300)
@given(variables)
def test_what_is_written_is_read_the_same(pairs):
    text = dotenv.render(pairs)
    assert dotenv.parse(text) == tuple(pairs)
    assert dotenv_values(stream=io.StringIO(text), interpolate=False) == dict(pairs)


@settings(max_examples=300)
@given(st.one_of(hard, anything, st.text(max_size=60)))
def test_any_text_is_read_or_refused(text):
    for shape in (text, f"A={text}", f"A='{text}", f'A="{text}\nB={text}'):
        try:
            dotenv.parse(shape)
        except HomeportError as e:
            assert e.code == "guard.bad_dotenv" and e.details
