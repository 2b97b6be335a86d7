"""What is said of commands, and how their output is cut into lines."""

from homeport.kernel.masking import Masker
from homeport.rollout.pipeline.stages import check, shell
from homeport.spec.model import Check

CHECKS = tuple(Check(name, "true") for name in ("lint", "types", "tests"))


def ended(problem="", lines=()):
    return shell.Ended(1 if problem else 0, problem, 0.5, tuple(lines))


def test_every_failed_command_is_named_with_its_last_lines():
    lines = [f"line {n}" for n in range(15)]
    found = check.found(
        CHECKS, [ended("status 2", lines), ended(), ended("it ran longer than 2 s", ["x"])], None
    )
    assert not found.ok
    assert found.reason == "2 of 3 checks failed: lint (status 2), tests (it ran longer than 2 s)"
    assert found.lines == (*(f"lint │ line {n}" for n in range(5, 15)), "tests │ x")
    assert [c["ok"] for c in found.details["checks"]] == [False, True, False]


def test_the_lines_of_many_failures_stay_few():
    many = tuple(Check(f"c{n}", "false") for n in range(40))
    found = check.found(many, [ended("status 1", ["a", "b"]) for _ in many], None)
    assert len(found.lines) == 20


def test_one_that_was_stopped_says_so_and_nothing_else():
    found = check.found(CHECKS, [ended("it was cancelled")] * 3, "cancelled")
    assert (found.ok, found.reason, found.stopped, found.lines) == (
        False,
        "it was cancelled",
        "cancelled",
        (),
    )
    found = check.found(CHECKS, [ended()] * 3, "cancelled")
    assert found.ok and found.stopped is None


def lines_of(*chunks, secrets=()):
    told = []
    lines = shell.Lines(Masker(secrets), told.append)
    for chunk in chunks:
        lines.feed(chunk)
    lines.close()
    return told


def test_output_is_told_in_whole_lines():
    assert lines_of(b"on", b"e\ntw", b"o\r\n", b"three") == [b"one", b"two", b"three"]


def test_a_line_that_is_written_over_itself_is_told_as_it_ends():
    assert lines_of(b"10 %\r50 %\r100 %\ndone\n") == [b"100 %", b"done"]


def test_a_line_without_an_end_is_told_in_pieces():
    told = lines_of(*[b"x" * 10_000] * 10)
    assert b"".join(told) == b"x" * 100_000 and max(map(len, told)) <= shell.LONGEST


def test_a_secret_is_masked_wherever_its_chunks_were_cut():
    secret = "geheim-4711-and-more"
    text = f"a {secret} b\n".encode()
    for cut in range(len(text)):
        assert lines_of(text[:cut], text[cut:], secrets=(secret,)) == [b"a [secret] b"]
