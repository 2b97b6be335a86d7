"""Route keys: one form for each host and prefix, and a reason for all that is refused."""

import pytest

from homeport.spec.routes import read_route


@pytest.mark.parametrize(
    ("key", "route"),
    [
        ("shop.example.com", ("shop.example.com", "/")),
        ("Shop.Example.com/", ("shop.example.com", "/")),
        ("example.com/Shop", ("example.com", "/Shop")),
        ("example.com/shop/", ("example.com", "/shop")),
        ("example.com/a/b.c/_d~", ("example.com", "/a/b.c/_d~")),
        ("*", ("*", "/")),
        ("*/", ("*", "/")),
        ("*/shop", ("*", "/shop")),
        ("localhost", ("localhost", "/")),
        ("127.0.0.1", ("127.0.0.1", "/")),
        ("bücher.example/x", ("xn--bcher-kva.example", "/x")),
        ("BÜCHER.example", ("xn--bcher-kva.example", "/")),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example", "/")),
        ("straße.example", ("xn--strae-oqa.example", "/")),
        ("例え。jp", ("xn--r8jz45g.jp", "/")),
        ("a" * 63 + ".com", ("a" * 63 + ".com", "/")),
    ],
)
def test_a_route_key_in_its_one_form(key: str, route: tuple[str, str]) -> None:
    assert read_route(key) == route
    host, prefix = route
    assert read_route(host + prefix) == route


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("http://a.b", 'without a scheme, such as "a.b"'),
        ("https://", 'without a scheme, such as "shop.example.com"'),
        ("a.b:8080", "without a port"),
        ("[::1]", "without a port"),
        ("*.example.com", "wildcard hosts are not in this version"),
        ("a*b", "wildcard hosts are not in this version"),
        ("**", "wildcard hosts are not in this version"),
        ("/shop", 'for any host: "*/shop"'),
        ("", "must be a host, such as"),
        ("a b.com", "must be a host name"),
        ("a_b.com", "must be a host name"),
        ("-a.com", "must be a host name"),
        ("a-.com", "must be a host name"),
        ("a..com", "must be a host name"),
        ("a.com.", "must be a host name"),
        (".a.com", "must be a host name"),
        ("a@b.com", "must be a host name"),
        ("a.com\n", "must be a host name"),
        ("a" * 64 + ".com", "must be a host name"),
        ("a." * 130 + "com", "at most 253"),
        ("ü" * 5000, "at most 253"),
        ("ü" * 200, "no ASCII form"),
        ("☃\u200d.example", "no ASCII form"),
        ("ü b.example", "no ASCII form"),
        ("\udc80.example", "no ASCII form"),
        ("a.b//c", 'without "//"'),
        ("a.b//", 'without "//"'),
        ("a.b/x//", 'without "//"'),
        ("a.b/../c", '"."'),
        ("a.b/./c", '"."'),
        ("a.b/c?d", 'without "?"'),
        ("a.b/c#d", 'without "?" or "#"'),
        ("a.b/c d", "letters, digits"),
        ("a.b/%20", "letters, digits"),
        ("a.b/c\n", "letters, digits"),
        ("a.b/*", "letters, digits"),
        ("a.b/" + "x" * 200, "at most 200"),
    ],
)
def test_a_route_key_that_is_refused(key: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        read_route(key)
    assert reason in str(caught.value)
