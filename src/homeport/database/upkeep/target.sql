-- What upkeep is to work on. An index that REFRESH CONCURRENTLY can use is unique, valid, checked at once, over plain
-- columns and without a predicate. Leftovers: of the indexes of the table and of its TOAST table (of one index only:
-- its own, whose name is cut where it is long) those that are not valid and are called as REINDEX CONCURRENTLY calls what it builds and what it replaces.
WITH target AS (
    SELECT c.*, n.nspname, coalesce(i.indrelid, c.oid) AS table_id
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    WHERE n.nspname = %(schema)s AND c.relname = %(name)s
)
SELECT t.relkind::text AS kind,
       CASE WHEN t.relkind IN ('i', 'I') THEN pg_relation_size(t.oid) ELSE pg_total_relation_size(t.oid) END AS bytes,
       CASE WHEN t.reltuples >= 0 THEN t.reltuples::float8 END AS rows,
       t.relispopulated AS filled,
       EXISTS (
           SELECT FROM pg_index AS i
           WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
             AND 0 <> ALL (i.indkey::int2[])
       ) AS "unique",
       coalesce((SELECT indisexclusion FROM pg_index WHERE indexrelid = t.oid), false) AS exclusion,
       t.nspname IN ('pg_catalog', 'information_schema') AS system,
       ARRAY(
           SELECT ARRAY[ln.nspname::text, l.relname::text]
           FROM pg_index AS i
           JOIN pg_class AS l ON l.oid = i.indexrelid
           JOIN pg_namespace AS ln ON ln.oid = l.relnamespace
           WHERE NOT i.indisvalid AND l.relkind = 'i'
             AND i.indrelid IN (t.table_id, (SELECT reltoastrelid FROM pg_class WHERE oid = t.table_id))
             AND (t.relkind <> 'i' OR t.relname = regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '')
                  OR octet_length(l.relname) = 63
                     AND starts_with(t.relname, regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '')))
             AND l.relname ~ '_cc(new|old)[0-9]*$'
             AND l.oid <> t.oid
           ORDER BY l.relname
       ) AS leftovers,
       EXISTS (
           SELECT FROM pg_stat_progress_create_index AS p
           WHERE p.relid IN (t.table_id, (SELECT reltoastrelid FROM pg_class WHERE oid = t.table_id))
             AND p.datname = current_database() AND p.pid <> pg_backend_pid()
       ) AS building
FROM target AS t
