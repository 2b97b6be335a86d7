"""What is said of an answer."""

import json

import pytest

from homeport.rollout.pipeline.stages.expect import Got, at, excerpt, host_for, problem, same
from homeport.spec.model import SmokeRequest


def got(status=200, body=b"", seconds=0.0123, **more):
    return Got(status, more.pop("headers", ()), body, seconds=seconds, **more)


def test_a_wrong_status_is_told_with_what_was_expected_and_the_time():
    assert (
        problem(SmokeRequest("/orders"), got(500)) == "GET /orders: status 500, 200 was expected (in 12 ms)"
    )
    either = SmokeRequest("/a", method="POST", status=(200, 204))
    assert (
        problem(either, got(302, seconds=1.26)) == "POST /a: status 302, 200 or 204 was expected (in 1.3 s)"
    )
    assert problem(either, got(204)) == ""


def test_a_status_says_more_than_an_answer_that_did_not_end():
    late = got(500, problem="no whole answer within 5 s")
    assert "status 500" in problem(SmokeRequest("/"), late)
    assert problem(SmokeRequest("/"), got(200, problem="no whole answer within 5 s")).endswith("within 5 s")
    assert problem(SmokeRequest("/"), Got(None, problem="connection refused")) == "GET /: connection refused"


def test_headers_have_to_contain_a_text_whatever_the_case_of_their_name():
    wanted = SmokeRequest("/", expect_headers=(("content-TYPE", "json"),))
    assert problem(wanted, got(headers=(("Content-Type", "application/json"),))) == ""
    assert problem(wanted, got(headers=(("Content-Type", "text/html"),))) == (
        'GET /: header content-TYPE is "text/html", it has to contain "json" (in 12 ms)'
    )
    assert problem(wanted, got()).startswith("GET /: there is no header content-TYPE")


def test_the_body_has_to_contain_a_text():
    wanted = SmokeRequest("/", contains="Hats")
    assert problem(wanted, got(body=b"<h1>Hats</h1>")) == ""
    assert problem(wanted, got(body=b"Caps")) == 'GET /: the body does not contain "Hats" (in 12 ms)'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"items": [{"name": "Hat"}], "n": 1}', ""),
        (b'{"items": [{"name": "Cap"}]}', 'items.0.name is "Cap", "Hat" was expected'),
        (b'{"items": []}', 'items.0.name is not in the body, "Hat" was expected'),
        (b'{"items": {"0": {"name": "Hat"}}}', ""),
        (b"<html>", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"\xff\xfe\x00", "the body is not JSON"),
    ],
)
def test_json_is_looked_up_by_path(body, said):
    wanted = SmokeRequest("/", expect_json=(("items.0.name", "Hat"),))
    found = problem(wanted, got(body=body))
    assert (said in found) if said else found == ""


def test_a_body_that_was_cut_is_not_taken_for_the_whole():
    wanted = SmokeRequest("/", expect_json=(("a", 1),))
    assert "larger than 5 MB" in problem(wanted, got(body=b'{"a": 1}', cut=True))
    assert "first 5 MB" in problem(SmokeRequest("/", contains="x"), got(body=b"a", cut=True))


def test_true_is_not_one_and_one_is_one_point_zero():
    assert same(1, 1.0) and same("a", "a") and same(True, True)
    assert not same(True, 1) and not same(1, True) and not same("1", 1) and not same(None, False)


def test_a_path_beside_the_document_leads_nowhere():
    document = {"a": [1, {"b": 2}]}
    assert at(document, "a.1.b") == 2
    missing = at(document, "x")
    for path in ("a.2", "a.-1", "a.b", "a.0.b", "", "a.1.b.c", "a." + "9" * 5000):
        assert at(document, path) is missing


def test_requests_go_to_a_host_of_the_environment():
    hosts = ("*.shop.example.com", "shop.example.com", "www.shop.example.com")
    assert host_for("", hosts) == "shop.example.com"
    assert host_for("WWW.shop.example.com", hosts) == "WWW.shop.example.com"
    assert host_for("eu.shop.example.com", hosts) == "eu.shop.example.com"
    assert host_for("evil.example.com", hosts) is None
    assert host_for(".shop.example.com", hosts[:1]) is None
    assert host_for("", ("*",)) == "localhost" and host_for("a.b", ("*",)) == "a.b"
    assert host_for("", ("*.shop.example.com",)) == "smoke.shop.example.com"
    assert host_for("", ()) is None


def test_an_excerpt_is_the_first_300_characters():
    assert excerpt("a\nb") == ("a", "b")
    assert excerpt("x" * 301) == ("x" * 300 + "…",)
    assert sum(map(len, excerpt(json.dumps(list(range(1000)))))) == 301
