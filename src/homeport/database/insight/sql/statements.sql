-- The statements of this database that took most time in all, but for our own and those that only steer
-- a session.
WITH one AS (
    SELECT s.queryid::text AS id, s.query AS text, s.userid, sum(s.calls)::bigint AS calls,
           sum(s.total_exec_time) / 1000 AS total, sum(s.rows)::bigint AS rows,
           sum(s.shared_blks_hit)::bigint AS hits, sum(s.shared_blks_read)::bigint AS reads
    FROM {extension}.pg_stat_statements AS s
    JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()
    WHERE s.query NOT LIKE '%homeport\_insight%'
      AND s.query !~* '^\s*(begin|start|commit|rollback|savepoint|release|set|reset|show|discard|deallocate)\M'
    GROUP BY 1, 2, 3
)
SELECT one.id, left(one.text, 20000) AS text, quote_ident(r.rolname) AS role, one.calls, one.total::float8 AS total,
       one.rows, one.hits, one.reads,
       (one.total / nullif(sum(one.total) OVER (), 0))::float8 AS share
FROM one
LEFT JOIN pg_roles AS r ON r.oid = one.userid
ORDER BY one.total DESC
LIMIT 50
