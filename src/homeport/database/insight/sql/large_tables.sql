-- Tables that an index may be missing on: names as EXPLAIN gives them, and the first columns of their indexes.
SELECT n.nspname::text AS schema, c.relname::text AS name, format('%I.%I', n.nspname, c.relname) AS "table",
       c.reltuples::bigint AS rows, c.relpages * 8192::bigint AS bytes,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
       coalesce((SELECT array_agg(DISTINCT a.attname::text)
        FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisvalid), '{}') AS indexed
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.reltuples >= 1000 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY c.reltuples DESC
LIMIT 2000
