-- An estimate from statistics, for B-trees. An entry: 4 bytes of line pointer, a header of 8 (16 with nulls), its
-- values rounded up to 8. A page: 8192 bytes less 40, filled to the fill factor. Equal values are stored once, so a
-- B-tree may well be smaller than that.
WITH keys AS (
    SELECT i.indexrelid, i.indrelid, i.indnatts,
           CASE WHEN i.indkey[k.n - 1] = 0 THEN ic.relname ELSE tc.relname END AS of,
           CASE WHEN i.indkey[k.n - 1] = 0 THEN ia.attname ELSE ta.attname END AS attname, n.nspname
    FROM pg_index AS i
    CROSS JOIN LATERAL generate_series(1, i.indnatts) AS k (n)
    JOIN pg_class AS ic ON ic.oid = i.indexrelid
    JOIN pg_class AS tc ON tc.oid = i.indrelid
    JOIN pg_namespace AS n ON n.oid = ic.relnamespace
    JOIN pg_am AS am ON am.oid = ic.relam AND am.amname = 'btree'
    JOIN pg_attribute AS ia ON ia.attrelid = i.indexrelid AND ia.attnum = k.n
    LEFT JOIN pg_attribute AS ta ON ta.attrelid = i.indrelid AND ta.attnum = i.indkey[k.n - 1]
    WHERE i.indisvalid AND ic.relkind = 'i' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
), width AS (
    SELECT k.indexrelid, sum((1 - st.null_frac) * st.avg_width) AS bytes, bool_or(st.null_frac > 0) AS nulls,
           count(*) AS known, k.indnatts
    FROM keys AS k
    JOIN pg_stats AS st ON st.schemaname = k.nspname AND st.tablename = k.of AND st.attname = k.attname
     AND NOT st.inherited
    GROUP BY k.indexrelid, k.indnatts
), expected AS (
    SELECT c.oid, c.relpages,
           2 + ceil(c.reltuples * (4 + CASE WHEN w.nulls THEN 16 ELSE 8 END + 8 * ceil(w.bytes / 8.0))
               / (8152 * coalesce(
                   (SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'),
                   90
               ) / 100.0)) AS pages
    FROM width AS w
    JOIN pg_class AS c ON c.oid = w.indexrelid
    WHERE w.known = w.indnatts AND c.reltuples >= 0
)
SELECT * FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS index, i.indrelid::regclass::text AS "table",
           c.relpages * 8192::bigint AS bytes,
           ((e.relpages - e.pages) * 8192)::bigint AS wasted,
           ((e.relpages - e.pages) / greatest(e.relpages, 1))::float8 AS share, true AS permitted
    FROM expected AS e
    JOIN pg_class AS c USING (oid)
    JOIN pg_index AS i ON i.indexrelid = c.oid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE e.relpages > e.pages
    ORDER BY wasted DESC
    LIMIT 200
) AS bloated
UNION ALL
SELECT format('%I.%I', n.nspname, c.relname), '', 0, 0, 0, false
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpages > 0 AND c.relhasindex AND NOT has_any_column_privilege(c.oid, 'SELECT')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
