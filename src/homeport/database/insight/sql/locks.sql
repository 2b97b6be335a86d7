-- Who waits for whom, in this database.
WITH waiting AS MATERIALIZED (
    SELECT a.pid, pg_blocking_pids(a.pid) AS blockers
    FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
), party AS (
    SELECT pid FROM waiting UNION SELECT unnest(blockers) FROM waiting
)
SELECT p.pid, quote_ident(a.usename) AS role, a.state, a.application_name AS application,
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 200) AS query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction,
       coalesce(w.blockers, '{}') AS blockers,
       l.mode, l.relation::regclass::text AS relation,
       extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS waits
FROM party AS p
LEFT JOIN pg_stat_activity AS a USING (pid)
LEFT JOIN waiting AS w USING (pid)
LEFT JOIN LATERAL (
    SELECT mode, relation, waitstart FROM pg_locks WHERE pg_locks.pid = p.pid AND NOT granted LIMIT 1
) AS l ON true
ORDER BY p.pid
LIMIT 500
