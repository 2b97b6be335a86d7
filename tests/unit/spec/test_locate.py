"""Line numbers of keys: right in every way that TOML has to write one down."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.spec.locate import Element, line_of, locate

TEXT = '''\
# a comment with [a.table] and key = "value"
top = 1  # top = 2
dotted . "quo.ted" . 'literal' = true

[a]
text = """
[not.a.table]
b = "no key" \\"""
"""
raw = \'\'\'
c = 1\'\'\'
d = [ # [no.table]
  { e = 1 }, "f = 1",
  ["]", 2],
]
g = { h = "}", i = { j = 1, k = [1, 2] }, "l m" = 3 }
n = 1979-05-27T07:32:00Z
"o\\u0070" = -1.5e3

[a . 'b.c'."d"]
p = ""
[[list]]
q = 1
[[list]]
r = 2
[list.in]
s = 3
[[list.deep]]
t = 4
[[ list . deep ]]
t = 5
[last] # [more]
s = "#"
inline = [
  [1, [2, "]"], {}], # ,
  { u = 1 }, -1.5,
  { v = [1, { w = 2 }] },
]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("dotted",), 3),
        (("dotted", "quo.ted", "literal"), 3),
        (("a",), 5),
        (("a", "text"), 6),
        (("a", "raw"), 10),
        (("a", "d"), 12),
        (("a", "g"), 16),
        (("a", "g", "h"), 16),
        (("a", "g", "i", "k"), 16),
        (("a", "g", "l m"), 16),
        (("a", "n"), 17),
        (("a", "op"), 18),
        (("a", "b.c"), 20),
        (("a", "b.c", "d", "p"), 21),
        (("list",), 22),
        (("list", Element(1)), 22),
        (("list", Element(1), "q"), 23),
        (("list", Element(2)), 24),
        (("list", Element(2), "r"), 25),
        (("list", Element(2), "in", "s"), 27),
        (("list", Element(2), "deep", Element(1), "t"), 29),
        (("list", Element(2), "deep", Element(2), "t"), 31),
        (("a", "d", Element(1), "e"), 13),
        (("last",), 32),
        (("last", "s"), 33),
        (("last", "inline", Element(2), "u"), 36),
        (("last", "inline", Element(4), "v", Element(2), "w"), 37),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str, ...], line: int) -> None:
    assert locate(TEXT)[path] == line


def test_nothing_else_is_taken_for_a_key() -> None:
    tomllib.loads(TEXT)
    assert {path[-1] for path in locate(TEXT)} == {
        *("top", "dotted", "quo.ted", "literal", "a", "text", "raw", "d", "g", "h", "i", "j", "k", "l m"),
        *(
            "n",
            "op",
            "b.c",
            "p",
            "list",
            "q",
            "r",
            "last",
            "s",
            "e",
            "in",
            "deep",
            "t",
            "inline",
            "u",
            "v",
            "w",
        ),
        *("1", "2", "3", "4"),
    }


def test_elements_are_counted_past_arrays_that_lie_too_deep() -> None:
    text = f"x = [{'[' * 9}1{']' * 9},\n{{ y = 1 }} ]\nz = 1"
    tomllib.loads(text)
    lines = locate(text)
    assert lines["x", Element(2), "y"] == 2
    assert lines["z",] == 3


def test_a_path_that_is_not_written_down_is_on_the_line_of_the_table_around_it() -> None:
    lines = locate("x = 1\n[a]\nb = 1\n")
    assert line_of(("a", "missing"), lines) == 2
    assert line_of(("a", "b", "deeper"), lines) == 3
    assert line_of(("missing",), lines) == 1


KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", '"h\\"i"', "1"])
SCALARS = st.sampled_from(
    ["1", "-2.5", "true", '"x # = [y]"', "'{'", '"""a\nb = 1\n[c]"""', "'''\n]'''", "0x1F"]
)
ARRAYS = st.lists(SCALARS, max_size=3).map(
    lambda items: "[\n" + "".join(f"{i}, # [x]\n" for i in items) + "]"
)
INLINE = st.dictionaries(KEYS, SCALARS.filter(lambda s: "\n" not in s), max_size=3).map(
    lambda pairs: "{ " + ", ".join(f"{k} = {v}" for k, v in pairs.items()) + " }"
)
TABLES = st.lists(INLINE | SCALARS.filter(lambda s: "\n" not in s), max_size=3).map(
    lambda items: f"[{', '.join(items)}]"
)
PAIRS = st.dictionaries(KEYS, st.one_of(SCALARS, ARRAYS, INLINE, TABLES), max_size=4)
DOCUMENTS = st.tuples(PAIRS, st.dictionaries(st.tuples(KEYS, KEYS), PAIRS, max_size=3))


def _paths(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, list):
        tables = ((n, inner) for n, inner in enumerate(value, 1) if isinstance(inner, dict))
        return {path} | {p for n, inner in tables for p in _paths(inner, (*path, Element(n)))}
    if not isinstance(value, dict):
        return {path}
    return {path} - {()} | {p for key, inner in value.items() for p in _paths(inner, (*path, key))}


@settings(max_examples=100, deadline=None, database=None)
@given(DOCUMENTS)
def test_every_key_that_tomllib_sees_has_a_line_and_no_other_has(
    document: tuple[dict[str, str], dict[tuple[str, str], dict[str, str]]],
) -> None:
    top, tables = document
    text, begins = "", set()
    for key, value in top.items():
        begins.add(text.count("\n") + 1)
        text += f"{key} = {value}\n"
    for (first, second), pairs in tables.items():
        begins.add(text.count("\n") + 1)
        text += f"[t.{first}.{second}]\n"
        for key, value in pairs.items():
            begins.add(text.count("\n") + 1)
            text += f"\t{key}={value} # {key} = 1\n"
    lines = locate(text)
    assert set(lines) == _paths(tomllib.loads(text))
    assert set(lines.values()) <= begins


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(alphabet="ab[]{}=.,\"'\\# \n\t1"))
def test_any_text_comes_to_an_end(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in locate(text).values())
