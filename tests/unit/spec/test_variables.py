"""Declarations of variables: which values fit, what a declaration may say, and what no message tells."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import Variable
from homeport.spec.parse import parse
from homeport.spec.patterns import Pattern
from homeport.spec.variables import LARGEST_VALUE, LONGEST_MATCHED, problem

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'


def read(lines: str) -> tuple[Variable, ...]:
    return parse(f"{APP}[variables]\n{lines}").variables


def problems(lines: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(lines)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


@pytest.mark.parametrize(
    ("line", "variable"),
    [
        ('A = "x"', Variable("A", "x")),
        ("A = 2", Variable("A", "2")),
        ("A = true", Variable("A", "true")),
        ("A = {}", Variable("A")),
        ("A = { default = 5, type = 'int' }", Variable("A", "5", type="int")),
        ("A = { required = true }", Variable("A", required=True)),
        ("A = { secret = true, required = true }", Variable("A", required=True, secret=True)),
        ("A = { pattern = '^sk_', default = 'sk_1' }", Variable("A", "sk_1", pattern="^sk_")),
        ("A = { one_of = ['a', 2, true], default = 2 }", Variable("A", "2", one_of=("a", "2", "true"))),
        ("A = { description = 'For people' }", Variable("A", description="For people")),
        ("A = { from = 'file:/run/a' }", Variable("A", secret=True, source="file:/run/a")),
        ("A = { from = 'command: pass show a' }", Variable("A", secret=True, source="command:pass show a")),
        ("A = { from = 'file:/a', secret = true }", Variable("A", secret=True, source="file:/a")),
    ],
)
def test_a_declaration(line: str, variable: Variable) -> None:
    assert read(line) == (variable,)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("A = { required = true, default = 1 }",
         "6: at 'variables.A.required': has no use: the variable has a default; take one of the two out"),
        ("A = { secret = true, default = 'hunter2' }",
         "6: at 'variables.A.default': must not be here: the variable is a secret, set with `homeport secrets set`"),
        ("A = { default = 'hunter2', type = 'int' }", "6: at 'variables.A.default': must be a whole number"),
        ("A = { default = 'hunter2', pattern = '^sk_' }", "6: at 'variables.A.default': must match ^sk_"),
        ("A = { default = 'hunter2', one_of = ['a', 'b c'] }",
         "6: at 'variables.A.default': must be one of a, \"b c\""),
        ("A = { one_of = ['1', 'x'], type = 'int' }",
         "6: at 'variables.A.one_of': must be a whole number, each of them"),
        ("A = { one_of = [] }",
         "6: at 'variables.A.one_of': must be an array of the values it may have, such as [\"test\", \"live\"], "
         "got an empty array"),
        ("A = { from = 'file:/a', default = 'x' }",
         "6: at 'variables.A.from': stands against the default: the value comes from one of the two; take one out"),
        ("A = { from = 'file:/a', secret = false }",
         "6: at 'variables.A.secret': must not be false: what \"from\" brings is always a secret"),
        ("A = { from = 'file:a' }",
         "6: at 'variables.A.from': must name a file by its absolute path after \"file:\", got \"file:a\""),
        ("A = { from = 'vault:a' }",
         '6: at \'variables.A.from\': must be "file:" and an absolute path, or "command:" and a shell command, such '
         'as "file:/run/secrets/token", got "vault:a"'),
        ("A = { from = 'command: ' }",
         "6: at 'variables.A.from': must be a shell command, got an empty one; leave the key out for none"),
        ("A = { pattern = '(' }",
         "6: at 'variables.A.pattern': must be a regular expression, got \"(\": missing ), unterminated "
         "subpattern at character 1"),
        ("A = { type = 'integer' }",
         "6: at 'variables.A.type': must be \"string\" or \"int\" or \"bool\" or \"url\" or \"duration\", got "
         "\"integer\""),
        ("A = { secret = 'true' }",
         "6: at 'variables.A.secret': must be true or false, without quotes, got \"true\""),
        ("A = { scret = true }", "6: at 'variables.A.scret': unknown key; did you mean \"secret\"?"),
        ("PORT = 1", "6: at 'variables.PORT': is reserved: Homeport sets it itself"),
        ("PATH = { required = true }", "6: at 'variables.PATH': is reserved: Homeport sets it itself"),
        ("A = ['x']", "6: at 'variables.A': must be a string, a whole number, true or false"),
        ("A = 1\n[env]\nA = 2", "6: at 'variables.A': is also 'env.A' in line 8: take one of the two out"),
    ],
)  # fmt: skip
def test_a_declaration_that_is_refused(line: str, problem: str) -> None:
    assert problems(line) == [problem]


def test_the_older_table_holds_plain_values_and_only_those() -> None:
    assert parse(f"{APP}[env]\nA = 1").variables == (Variable("A", "1"),)
    with pytest.raises(HomeportError):
        parse(f"{APP}[env]\nA = {{ default = 1 }}")


def test_a_flood_of_variables_is_refused() -> None:
    assert problems("".join(f"V{n} = 1\n" for n in range(1001))) == [
        "5: at 'variables': has 1,001 variables; at most 1,000 are possible"
    ]


@pytest.mark.parametrize(
    ("type_", "fits", "does_not"),
    [
        ("string", ["", "x", "ä\n"], []),
        ("int", ["0", "-3", "+7", "9223372036854775807"], ["", "1.5", "x", "1 ", "9" * 30, "1\n", "٣", "9" * 60_000]),
        ("bool", ["true", "false"], ["", "True", "1", "yes", "true\n"]),
        ("url", ["https://a.b/c?d", "postgres://u:p@h:5/d", "sqlite:///x.db"],
         ["", "a.b", "https://", "https://a b", "://a", "https://a\n", "x" * 60_000]),
        ("duration", ["30s", "1h30m", "250ms"], ["", "30", "5 m", "s", "9" * 60_000, "9" * 400 + "d"]),
    ],
)  # fmt: skip
def test_types(type_: str, fits: list[str], does_not: list[str]) -> None:
    variable = Variable("A", type=type_)
    assert [problem(variable, value) for value in fits] == [None] * len(fits)
    for value in does_not:
        reason = problem(variable, value)
        assert reason is not None and reason.startswith("must be "), value
        assert len(value) < 10 or value not in reason


def test_pattern_and_choice() -> None:
    assert problem(Variable("A", pattern="^sk_"), "pk_1") == "must match ^sk_"
    assert problem(Variable("A", pattern="sk_"), "a sk_1") is None
    assert problem(Variable("A", one_of=("a", "b", "c")), "d") == "must be one of a, b, c"
    assert problem(Variable("A", one_of=("a", "b", "c")), "b") is None
    many = problem(Variable("A", one_of=tuple("x" * 200 + str(n) for n in range(100))), "d")
    assert many is not None and len(many) < 1000


@pytest.mark.parametrize(
    "variable",
    [
        Variable("A", secret=True, pattern="^sk_"),
        Variable("A", secret=True, type="int"),
        Variable("A", secret=True, type="url"),
        Variable("A", secret=True, type="duration"),
        Variable("A", secret=True, type="bool"),
        Variable("A", secret=True, one_of=("a", "b")),
    ],
)
def test_no_reason_repeats_a_value(variable: Variable) -> None:
    for value in ("hunter2", "hunter2" * 2000, "hunter2" * 200_000):
        reason = problem(variable, value)
        assert reason is not None and "hunter2" not in reason


def test_the_size_of_a_value_is_bounded() -> None:
    assert problem(Variable("A"), "x" * LARGEST_VALUE) is None
    assert problem(Variable("A"), "ä" * LARGEST_VALUE) == "must be of at most 64 KB (65,536 bytes)"
    assert problem(Variable("A"), chr(0xDC80)) == "must be UTF-8 text"
    assert problem(Variable("A", pattern="x"), "x" * LONGEST_MATCHED) is None
    assert problem(Variable("A", pattern="x"), "x" * (LONGEST_MATCHED + 1)) == (
        f"must be of at most {LONGEST_MATCHED} characters, since it has a pattern"
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "^sk_(test|live)_[A-Za-z0-9]+$",
        "^[a-z0-9]+(-[a-z0-9]+)*$",
        r"^([a-z0-9-]+\.)+[a-z]{2,}$",
        r"^(\d{1,3}\.){3}\d{1,3}$",
        r"^[^@]+@[^@]+\.[^@]+$",
        "^([A-Z]{2})+$",
        "^(([a-z]+),)*$",
        "^(,(foo|bar))*$",
    ],
)
def test_a_pattern_that_comes_to_an_end(pattern: str) -> None:
    assert Pattern().read(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a|aa)+$",
        "((a*))*$",
        "(.*,)+x",
        r"(\w+-?)*$",
        "(?P<x>a+)+$",
        "(?=(a+)+b)",
        "x(a?){30}a{30}",
        "(-a*a*)*$",
        "(-([a-z]b|ab))*$",
        "(x+x+)+y",
        "(?i:(a+)+)$",
        "(?i)(xX*)*$",
        "(?:(?:a+)+|b)c",
    ],
)
def test_a_pattern_that_may_take_forever_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may take forever"):
        Pattern().read(pattern)


@pytest.mark.parametrize(
    "pattern", ["(", "a{99999999999}", "[[a]", "x" * 501, "", 3, "(?<=a+)b", "\\", "(?P<é\n>"]
)
def test_what_is_no_pattern_is_refused(pattern: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a regular expression") as caught:
        Pattern().read(pattern)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("pattern", ["(" * 240 + "a?" + ")*" * 10 + ")" * 230, "(?:" * 120 + "a" + ")" * 120])
def test_a_pattern_that_nests_deep_is_read_or_refused(pattern: str) -> None:
    try:
        Pattern().read(pattern)
    except ValueError as error:
        assert str(error).startswith("must be a regular expression")
