"""Which files a budget means, and what is said of their sizes."""

import pytest

from homeport.rollout.pipeline.stages import budget
from homeport.spec.model import Budget, Stage


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.js", ["a.js"], ["d/a.js", "a.jsx"]),
        ("dist/*.js", ["dist/a.js"], ["dist/x/a.js", "a.js"]),
        ("dist/**/*.js", ["dist/a.js", "dist/x/y/a.js"], ["a.js", "src/dist/a.js", "dist/a.css"]),
        ("**/*.js", ["a.js", "x/y/a.js"], ["a.css"]),
        ("dist/**", ["dist/a", "dist/x/a"], ["dist", "other/a"]),
        ("**", ["a", "x/y"], []),
        ("**/**/a", ["a", "x/a", "x/y/z/a"], ["x/b"]),
        ("./dist//a[0-9].js", ["dist/a1.js"], ["dist/ab.js"]),
        ("a?b", ["axb"], ["a/b"]),
        ("../*", [], ["a", "x/a"]),
        ("/etc/*", ["etc/passwd"], ["a/etc/passwd"]),
        ("", [], ["a"]),
    ],
)
def test_patterns(pattern, yes, no):
    assert [p for p in yes if not budget.matches(pattern, p)] == []
    assert [p for p in no if budget.matches(pattern, p)] == []


def test_a_pattern_with_many_stars_is_matched_at_once():
    assert not budget.matches("**/" * 20 + "x", "a/" * 500 + "b")


def test_sizes_within_the_budget_pass_and_others_are_told_with_the_largest_files(make_work):
    work = make_work(Stage("build", "build"))
    sizes = {f"dist/{n}.js": n * 1000 for n in range(1, 8)}
    found = budget.found(
        work,
        [
            (Budget("dist/*.js", 28_000), sizes),
            (Budget("dist/*.js", 27_999, gzip=True), sizes),
            (Budget("dist/*.css", 10), {}),
        ],
    )
    assert not found.ok
    assert found.reason == (
        "dist/*.js: 28 KB with gzip, 28 KB are allowed (1 B too many); dist/*.css matches no file"
    )
    assert len(found.lines) == 5 and found.lines[0].split() == ["7", "KB", "dist/7.js"]
    assert [b["ok"] for b in found.details["budgets"]] == [True, False, False]
    assert "✓ dist/*.js: 28 KB\n" in work.log.text


def test_without_a_release_nothing_is_measured(make_work):
    assert budget.run(make_work(Stage("build", "build"))).ok
    assert not budget.run(make_work(Stage("build", "build", budgets=(Budget("*", 1),)))).ok
