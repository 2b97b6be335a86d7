-- An estimate from statistics: pages that the rows need, and pages that are there.
-- A row: 4 bytes of line pointer, a header of 23 bytes and a bitmap of nulls rounded up to 8, its values rounded up
-- to 8. A page: 8192 bytes less 24.
WITH width AS (
    SELECT c.oid, sum((1 - st.null_frac) * st.avg_width) AS bytes,
           bool_or(st.null_frac > 0) AS nulls, count(*) AS known,
           (SELECT count(*) FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_stats AS st ON st.schemaname = n.nspname AND st.tablename = c.relname AND NOT st.inherited
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    GROUP BY c.oid
), expected AS (
    SELECT c.oid, c.relpages,
           ceil(c.reltuples * (
               4 + 8 * ceil((23 + CASE WHEN w.nulls THEN ceil(w.columns / 8.0) ELSE 0 END) / 8.0)
               + 8 * ceil(w.bytes / 8.0)
           ) / (8168 * coalesce(
               (SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100
           ) / 100.0)) AS pages
    FROM pg_class AS c
    JOIN width AS w USING (oid)
    WHERE c.reltuples >= 0 AND w.known = w.columns
)
SELECT * FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS "table", c.relpages * 8192::bigint AS bytes,
           ((e.relpages - e.pages) * 8192)::bigint AS wasted,
           ((e.relpages - e.pages) / greatest(e.relpages, 1))::float8 AS share, true AS permitted
    FROM expected AS e
    JOIN pg_class AS c USING (oid)
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE e.relpages > e.pages
    ORDER BY wasted DESC
    LIMIT 200
) AS bloated
UNION ALL
SELECT format('%I.%I', n.nspname, c.relname), 0, 0, 0, false
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpages > 0 AND NOT has_any_column_privilege(c.oid, 'SELECT')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
