-- Tables with what is stored beside them, and their indexes, the largest first. Not exact: as of the last VACUUM or
-- ANALYZE, for when somebody locks a table and its size of the moment would have to wait.
WITH relation AS (
    SELECT c.oid, c.relkind, c.reltoastrelid, c.reltuples,
           format('%%I.%%I', n.nspname, c.relname) AS name,
           CASE WHEN %(exact)s THEN pg_table_size(c.oid)
                ELSE 8192 * (c.relpages + coalesce((SELECT t.relpages FROM pg_class AS t WHERE t.oid = c.reltoastrelid), 0))::bigint
           END AS bytes
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
), of_table AS (
    SELECT i.indrelid, format('%%I.%%I', n.nspname, c.relname) AS name,
           CASE WHEN %(exact)s THEN pg_relation_size(c.oid) ELSE 8192 * c.relpages::bigint END AS bytes
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT r.name, CASE r.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
       CASE WHEN r.reltuples >= 0 THEN r.reltuples::float8 END AS rows, r.bytes,
       coalesce((
           SELECT json_agg(json_build_object('name', o.name, 'bytes', o.bytes) ORDER BY o.bytes DESC, o.name)
           FROM of_table AS o WHERE o.indrelid = r.oid
       ), '[]'::json) AS indexes
FROM relation AS r
ORDER BY r.bytes + coalesce((SELECT sum(o.bytes) FROM of_table AS o WHERE o.indrelid = r.oid), 0) DESC, r.name
LIMIT 1000
