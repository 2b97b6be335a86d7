"""What a value becomes, as SQL: the same for the same value within one clone, and not to be looked up without its key.

The key is in the setting ``homeport.key`` of the session, in hexadecimal. Functions live as long as the session, too.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from homeport.backup.clone.model import REAL, TEXT, WHOLE, Column, Masked, Shape

FIRST = [
    "Ada", "Alma", "Anna", "Ben", "Carl", "Clara", "David", "Elena", "Emil", "Emma", "Erik", "Eva",
    "Finn", "Frida", "Hana", "Hugo", "Ida", "Ines", "Ivan", "Jana", "Jonas", "Julia", "Karl",
    "Lara", "Lena", "Leo", "Lina", "Luca", "Maja", "Marta", "Max", "Mila", "Nina", "Noah", "Nora",
    "Oskar", "Paul", "Rosa", "Sara", "Tom", "Vera", "Viktor",
]  # fmt: skip
LAST = [
    "Adler", "Bach", "Baker", "Berg", "Brown", "Clark", "Cook", "Costa", "Diaz", "Evans", "Fischer",
    "Ford", "Garcia", "Gray", "Green", "Hall", "Hansen", "Hill", "Hughes", "Jones", "Keller",
    "King", "Klein", "Koch", "Larsen", "Lee", "Lopez", "Martin", "Meyer", "Moore", "Moser", "Novak",
    "Olsen", "Perez", "Reed", "Rossi", "Silva", "Smith", "Stone", "Weber", "Wolf", "Young",
]  # fmt: skip
STREETS = [
    "Birch", "Bridge", "Cedar", "Church", "Elm", "Garden", "Harbour", "High", "Hill", "Lake",
    "Lime", "Maple", "Mill", "Oak", "Orchard", "Park", "River", "Rose", "School", "Station",
]  # fmt: skip
TEXT_OF = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat "
)


def _words(of: Sequence[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{w}'" for w in of) + "]"


FUNCTIONS: tuple[str, ...] = (
    """CREATE FUNCTION pg_temp.hp_hex(v text) RETURNS text LANGUAGE sql STABLE STRICT AS $$
SELECT encode(pg_catalog.sha256(decode(pg_catalog.current_setting('homeport.key'), 'hex') || convert_to(v, 'UTF8')), 'hex')
$$""",
    """CREATE FUNCTION pg_temp.hp_int(v text) RETURNS bigint LANGUAGE sql STABLE STRICT AS $$
SELECT ('x' || substr(pg_temp.hp_hex(v), 1, 15))::bit(60)::bigint
$$""",
    f"""CREATE FUNCTION pg_temp.hp_word(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
SELECT CASE kind WHEN 'first' THEN ({_words(FIRST)})[1 + n % {len(FIRST)}]
WHEN 'last' THEN ({_words(LAST)})[1 + n % {len(LAST)}] ELSE ({_words(STREETS)})[1 + n % {len(STREETS)}] END
$$""",
    # A Feistel network over the smallest even number of bits, walked until it comes back below n: no two values
    # become the same.
    """CREATE FUNCTION pg_temp.hp_permute(v bigint, n bigint) RETURNS bigint LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE h int := 1; x bigint := v; l bigint; r bigint; t bigint; mask bigint;
BEGIN
  IF n <= 1 THEN RETURN v; END IF;
  WHILE h < 31 AND (1::bigint << (2 * h)) < n LOOP h := h + 1; END LOOP;
  mask := (1::bigint << h) - 1;
  LOOP
    l := x >> h; r := x & mask;
    FOR i IN 1..4 LOOP
      t := l # (('x' || substr(pg_temp.hp_hex(i || ':' || r || ':' || n), 1, 8))::bit(32)::bigint & mask);
      l := r; r := t;
    END LOOP;
    x := (l << h) | r;
    IF x < n THEN RETURN x; END IF;
  END LOOP;
END $$""",
    # As many digits, the same sign.
    """CREATE FUNCTION pg_temp.hp_whole(v bigint, top bigint) RETURNS bigint LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE a bigint; lo bigint := 1; n bigint; most bigint := (1::bigint << 62) - 1;
BEGIN
  IF v = 0 THEN RETURN 0; END IF;
  IF v = -9223372036854775808 THEN v := -top; END IF;
  a := least(abs(v), top);
  WHILE lo < 1000000000000000000 AND a >= lo * 10 LOOP lo := lo * 10; END LOOP;
  n := least(top, CASE WHEN lo < 1000000000000000000 THEN lo * 10 - 1 ELSE top END) - lo + 1;
  IF n > most THEN
    IF a - lo >= most THEN lo := lo + most; n := top - lo + 1; ELSE n := most; END IF;
  END IF;
  RETURN sign(v)::bigint * (lo + pg_temp.hp_permute(a - lo, n));
END $$""",
    # As many digits, as many of them behind the point.
    """CREATE FUNCTION pg_temp.hp_real(v numeric) RETURNS numeric LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE s int; u numeric; d int;
BEGIN
  IF v IN ('NaN', 'Infinity', '-Infinity') OR v = 0 THEN RETURN v; END IF;
  s := min_scale(v);
  u := trunc(abs(v) * 10::numeric ^ s);
  d := length(u::text);
  IF d <= 18 THEN
    RETURN round(sign(v) * pg_temp.hp_whole(u::bigint, 999999999999999999) / 10::numeric ^ s, s);
  END IF;
  RETURN round(sign(v) * (1 + pg_temp.hp_int(u::text) % 9)::numeric * 10::numeric ^ (d - 1 - s), s)
    + round(sign(v) * (pg_temp.hp_int('more' || u) % 1000000000000000000)::numeric / 10::numeric ^ s, s);
END $$""",
    # Another day of the same year.
    """CREATE FUNCTION pg_temp.hp_day(v date) RETURNS date LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE y date; n int;
BEGIN
  IF NOT isfinite(v) THEN RETURN v; END IF;
  y := date_trunc('year', v::timestamp)::date;
  n := (y::timestamp + interval '1 year')::date - y;
  RETURN y + pg_temp.hp_permute(v - y, n)::int;
END $$""",
    """CREATE FUNCTION pg_temp.hp_moment(v timestamp) RETURNS timestamp LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE d date; t bigint;
BEGIN
  IF NOT isfinite(v) THEN RETURN v; END IF;
  d := v::date;
  t := round(extract(epoch FROM v - d::timestamp) * 1000000)::bigint;
  RETURN pg_temp.hp_day(d)::timestamp + pg_temp.hp_permute(t, 86400000000) * interval '1 microsecond';
END $$""",
    # Each digit another one.
    """CREATE FUNCTION pg_temp.hp_digits(v text) RETURNS text LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE out text := ''; c text; k int := 0; h text := pg_temp.hp_hex(v);
BEGIN
  FOREACH c IN ARRAY regexp_split_to_array(v, '') LOOP
    IF c ~ '^[0-9]$' THEN
      c := ((('x' || substr(h, 1 + 2 * (k % 32), 2))::bit(8)::int + k / 32) % 10)::text;
      k := k + 1;
    END IF;
    out := out || c;
  END LOOP;
  RETURN out;
END $$""",
    """CREATE FUNCTION pg_temp.hp_ip(v text, is_6 boolean, is_unique boolean) RETURNS inet LANGUAGE sql STABLE STRICT AS $$
SELECT CASE WHEN is_6 OR is_unique THEN
  ('2001:db8:' || regexp_replace(substr(pg_temp.hp_hex(v), 1, 24), '(....)(....)(....)(....)(....)(....)', '\\1:\\2:\\3:\\4:\\5:\\6'))::inet
ELSE '10.0.0.0'::inet + pg_temp.hp_int(v) % 16777214 + 1 END
$$""",
    f"""CREATE FUNCTION pg_temp.hp_prose(v text, wanted int) RETURNS text LANGUAGE sql STABLE STRICT AS $$
SELECT left(repeat(substr(t, 1 + (pg_temp.hp_int(v) % 200)::int) || t, 1 + wanted / 200), wanted)
FROM (SELECT repeat('{TEXT_OF}', 2) AS t) x
$$""",
)  # fmt: skip


def value(masked: Masked) -> sql.Composed:
    """What takes the place of a column's value; null stays null."""
    column, shape = masked.column, masked.shape
    name = sql.Identifier(column.name)
    if masked.rule == "null":
        return sql.SQL("NULL").format()
    made = _made(masked.rule, column, shape, name)
    return sql.SQL("CASE WHEN {} IS NULL THEN NULL ELSE ({})::{} END").format(
        name,
        made,
        sql.SQL(column.declared),  # as format_type() has quoted it
    )


def _made(rule: str, column: Column, shape: Shape, name: sql.Identifier) -> sql.Composed:
    if column.type in TEXT:
        return _text(rule, column, shape, name)
    if rule == "number" and column.type in WHOLE:
        return _f("pg_temp.hp_whole({}::bigint, {})", name, sql.Literal(shape.top))
    if rule == "number" and column.type in REAL:
        return _f("pg_temp.hp_real({}::numeric)", name)
    if rule == "date" and column.type == "date":
        return _f("pg_temp.hp_day({})", name)
    if rule == "date" and column.type == "timestamp":
        return _f("pg_temp.hp_moment({})", name)
    if rule == "date":
        return _f("pg_temp.hp_moment({} AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'", name)
    if rule == "ip" and column.type == "inet":
        made = _f("pg_temp.hp_ip({0}::text, family({0}) = 6, {1})", name, sql.Literal(shape.unique))
        return _f(
            "set_masklen({0}, CASE WHEN family({0}) = family({1}) THEN masklen({1}) ELSE 128 END)", made, name
        )
    if rule == "ip":
        made = _f("pg_temp.hp_ip({0}::text, family({0}) = 6, {1})", name, sql.Literal(shape.unique))
        return _f(
            "network(set_masklen({0}, CASE WHEN family({0}) = family({1}) THEN masklen({1}) ELSE 128 END))",
            made,
            name,
        )
    if rule == "hash" and column.type == "uuid":
        return _f("substr(pg_temp.hp_hex({}::text), 1, 32)", name)
    if rule == "hash" and column.type == "bytea":
        return _f("decode(pg_temp.hp_hex(encode({}, 'hex')), 'hex')", name)
    if rule == "text" and column.type == "tsvector":
        return sql.SQL("''").format()
    raise ValueError(f"{rule} of {column.type}")


def _text(rule: str, column: Column, shape: Shape, name: sql.Identifier) -> sql.Composed:
    # What is equal has to stay equal: citext compares without case.
    v = _f("lower({}::text)", name) if column.type == "citext" else _f("{}::text", name)
    made = _string(rule, shape, v)
    # An empty text tells of nobody.
    whole = _f("CASE WHEN {0} = '' THEN '' ELSE {1} END", v, made)
    return whole if shape.length is None else _f("left({}, {})", whole, sql.Literal(shape.length))


def _string(rule: str, shape: Shape, v: sql.Composable) -> sql.Composed:
    room = shape.length if shape.length is not None else 1_000_000
    n = _f("pg_temp.hp_int({})", v)
    m = _f("pg_temp.hp_int('2' || {})", v)
    first, last = _f("pg_temp.hp_word('first', {})", n), _f("pg_temp.hp_word('last', {})", m)
    match rule:
        case "email" if room >= 60:
            return _f(
                "lower({0} || '.' || {1}) || '.' || left(pg_temp.hp_hex({2}), 16) || '@example.com'",
                first,
                last,
                v,
            )
        case "email":
            digits = min(16, room - 13)
            return _f("'u' || left(pg_temp.hp_hex({0}), {1}) || '@example.com'", v, sql.Literal(digits))
        case "name":
            plain = {"first": first, "last": last}.get(shape.part) or _f("{} || ' ' || {}", first, last)
            return _tailed(plain, shape, room, v)
        case "address":
            plain = _f("(1 + {0} % 200) || ' ' || pg_temp.hp_word('street', {1}) || ' Street'", n, m)
            return _tailed(plain, shape, room, v)
        case "phone":
            # +999 is nobody's.
            return _f(
                "left('+999' || lpad(({} % 100000000000)::text, 11, '0'), {})", n, sql.Literal(min(room, 15))
            )
        case "number":
            return _f("pg_temp.hp_digits({})", v)
        case "ip":
            return _f("host(pg_temp.hp_ip({0}, {0} ~ ':', {1}))", v, sql.Literal(shape.unique and room >= 39))
        case "hash":
            return _f("left(pg_temp.hp_hex({}), {})", v, sql.Literal(min(room, 64)))
        case "text":
            prose = _f("pg_temp.hp_prose({0}, length({0}))", v)
            return _tailed(prose, shape, room, v)
    raise ValueError(rule)


def _tailed(plain: sql.Composable, shape: Shape, room: int, v: sql.Composable) -> sql.Composed:
    """With something of its own at its end where it must be unique."""
    if not shape.unique:
        return _f("{}", plain)
    return _f(
        "rtrim(left({0}, {1})) || ' ' || left(pg_temp.hp_hex({2}), {3})",
        plain, sql.Literal(max(0, min(room, 2000) - 17)), v, sql.Literal(min(16, room - 1)),
    )  # fmt: skip


def _f(text: str, *parts: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(*parts)


def update(masks: Sequence[Masked]) -> sql.Composed:
    """All masks of one table at once."""
    column = masks[0].column
    pairs = [_f("{} = {}", sql.Identifier(m.column.name), value(m)) for m in masks]
    return _f("UPDATE {} SET {}", sql.Identifier(column.schema, column.table), sql.SQL(", ").join(pairs))


def replacement(masks: Sequence[Masked], columns: Sequence[str], into: str) -> tuple[sql.Composed, ...]:
    """As :func:`update`, for a table where one row may get the unique value that another one still has: all rows go
    and come back. ``columns``: all that are not generated."""
    by_name = {m.column.name: value(m) for m in masks}
    table = sql.Identifier(masks[0].column.schema, masks[0].column.table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    chosen = sql.SQL(", ").join(
        _f("{} AS {}", by_name.get(c, sql.Identifier(c)), sql.Identifier(c)) for c in columns
    )
    beside = sql.Identifier("pg_temp", into)
    return (
        _f("CREATE TEMP TABLE {} AS SELECT {} FROM {}", sql.Identifier(into), chosen, table),
        _f("DELETE FROM {}", table),
        _f("INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}", table, names, beside),
        _f("DROP TABLE {}", beside),
    )
