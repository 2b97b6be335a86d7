"""A database's schema as data: each object by kind and name, with a definition that says what it is.

Not a text of pg_dump: no order, no owners' defaults, no numbers of the server's own. Left out: what an
extension brought, what PostgreSQL makes by itself (indexes of constraints stand with the constraint, toast),
Homeport's table, and schemas that a restore made beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.model import OWN_SCHEMA, TABLE

if TYPE_CHECKING:
    from psycopg import Connection

    Conn = Connection[Any]

Snapshot = Mapping[tuple[str, str], str]
"""(kind, name) to definition."""

OURS = (
    f"n.nspname !~ '^pg_' and n.nspname not in ('information_schema', '{OWN_SCHEMA}') "
    # What homeport restore --table brought back beside, until it is dropped.
    "and n.nspname !~ '^restored_[0-9]{8}t[0-9]{6}$' and not exists "
    "(select from pg_depend e where e.deptype = 'e' and e.objid = {oid} and e.classid = '{catalog}'::regclass)"
)
COLLATION = "coalesce((select ' collate ' || l.collname from pg_collation l where l.oid = a.attcollation and l.collname <> 'default'), '')"

QUERIES: tuple[tuple[str, str, str], ...] = (
    ("schema", "pg_namespace", "select n.nspname, '' from pg_namespace n where {ours} and n.nspname <> 'public'"),
    (
        "table", "pg_class",
        "select format('%%I.%%I', n.nspname, c.relname), concat_ws(' ', case c.relkind when 'p' then "
        "'partitioned ' || pg_get_partkeydef(c.oid) when 'f' then 'foreign' else 'table' end, "
        "case c.relpersistence when 'u' then 'unlogged' end, case when c.relrowsecurity then 'rls' end, "
        "case when c.relforcerowsecurity then 'force rls' end, array_to_string(c.reloptions, ','), "
        "(select 'of ' || i.inhparent::regclass::text || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '') "
        "from pg_inherits i where i.inhrelid = c.oid order by i.inhseqno limit 1)) "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'p', 'f') and {ours}",
    ),
    (
        "column", "pg_class",
        "select format('%%I.%%I.%%I', n.nspname, c.relname, a.attname), concat_ws(' ', "
        "format_type(a.atttypid, a.atttypmod) || " + COLLATION + ", "
        "case when a.attnotnull then 'not null' end, "
        "case when a.attidentity <> '' then 'identity ' || a.attidentity::text end, "
        "case when a.attgenerated <> '' then 'generated ' || a.attgenerated::text end, "
        "'default ' || pg_get_expr(d.adbin, d.adrelid)) "
        "from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
        "left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum "
        "where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'f') and {ours}",
    ),
    (
        "constraint", "pg_constraint",
        "select format('%%I.%%I.%%I', n.nspname, coalesce(c.relname, t.typname), o.conname), pg_get_constraintdef(o.oid) "
        "from pg_constraint o left join pg_class c on c.oid = o.conrelid left join pg_type t on t.oid = o.contypid "
        "join pg_namespace n on n.oid = o.connamespace where o.contype <> 't' and {ours}",
    ),
    (
        "index", "pg_class",
        "select format('%%I.%%I', n.nspname, c.relname), pg_get_indexdef(c.oid) || "
        "case when i.indisvalid then '' else ' (invalid)' end "
        "from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname <> 'pg_toast' and not exists (select from pg_constraint o where o.conindid = c.oid "
        "and o.contype in ('p', 'u', 'x')) and {ours}",
    ),
    (
        "view", "pg_class",
        "select format('%%I.%%I', n.nspname, c.relname), concat_ws(' ', c.relkind::text, "
        "array_to_string(c.reloptions, ','), pg_get_viewdef(c.oid)) "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('v', 'm') and {ours}",
    ),
    (
        "sequence", "pg_class",
        "select format('%%I.%%I', n.nspname, c.relname), format('%%s start %%s increment %%s min %%s max %%s %%s', "
        "format_type(s.seqtypid, null), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, "
        "case when s.seqcycle then 'cycle' else '' end) "
        "from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace "
        "where {ours}",
    ),
    (
        "function", "pg_proc",
        "select format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), "
        "case when p.prokind = 'a' then 'aggregate' else pg_get_functiondef(p.oid) end "
        "from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {ours}",
    ),
    (
        "trigger", "pg_trigger",
        "select format('%%I.%%I.%%I', n.nspname, c.relname, t.tgname), pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text "
        "from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace "
        "where not t.tgisinternal and {ours}",
    ),
    (
        "policy", "pg_policy",
        "select format('%%I.%%I.%%I', n.nspname, c.relname, p.polname), concat_ws(' ', p.polcmd::text, "
        "case when p.polpermissive then 'permissive' else 'restrictive' end, "
        "(select string_agg(coalesce(r.rolname, 'public'), ',' order by r.rolname) from unnest(p.polroles) x "
        "left join pg_roles r on r.oid = x), 'using ' || pg_get_expr(p.polqual, p.polrelid), "
        "'check ' || pg_get_expr(p.polwithcheck, p.polrelid)) "
        "from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace "
        "where {ours}",
    ),
    (
        "enum", "pg_type",
        "select format('%%I.%%I', n.nspname, t.typname), (select string_agg(quote_literal(e.enumlabel), ', ' "
        "order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid) "
        "from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.typtype = 'e' and {ours}",
    ),
    (
        "domain", "pg_type",
        "select format('%%I.%%I', n.nspname, t.typname), concat_ws(' ', format_type(t.typbasetype, t.typtypmod), "
        "case when t.typnotnull then 'not null' end, 'default ' || t.typdefault) "
        "from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.typtype = 'd' and {ours}",
    ),
)  # fmt: skip
ALIASES = {
    "pg_namespace": "n.oid",
    "pg_class": "c.oid",
    "pg_constraint": "coalesce(c.oid, t.oid)",
    "pg_proc": "p.oid",
    "pg_trigger": "t.oid",
    "pg_policy": "p.oid",
    "pg_type": "t.oid",
}
OWN_TABLES = (TABLE, "schema_migrations")
EXTENSIONS = "select extname, '' from pg_extension where extname <> 'plpgsql'"


def snapshot(conn: Conn, *, schema: str = "public") -> Snapshot:
    """The schema as it is now. ``schema`` holds Homeport's table, which is left out."""
    found: dict[tuple[str, str], str] = {}
    own = tuple(f"{schema}.{table}" for table in OWN_TABLES)
    # Names come out qualified, whatever the role's search path is.
    before = conn.execute("select set_config('search_path', '', false), current_setting('search_path')")
    before.fetchall()
    for kind, catalog, query in QUERIES:
        ours = OURS.replace("{oid}", ALIASES[catalog]).replace("{catalog}", catalog)
        text = query.replace("{ours}", ours).replace("%%", "%")
        for name, definition in conn.execute(text.encode()).fetchall():
            if (
                not name.startswith(tuple(f"{o}." for o in own))
                and name not in own
                and not _own_index(name, own)
            ):
                found[(kind, name)] = _normal(definition or "")
    for name, definition in conn.execute(EXTENSIONS).fetchall():
        found[("extension", name)] = definition
    conn.execute("reset search_path")
    return found


def _own_index(name: str, own: tuple[str, ...]) -> bool:
    return name in tuple(f"{o}_pkey" for o in own)


def _normal(definition: str) -> str:
    return "\n".join(line.rstrip() for line in definition.strip().splitlines())
