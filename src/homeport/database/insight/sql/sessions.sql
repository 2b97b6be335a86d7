-- Sessions of this database in a transaction, but for our own. With few rights the state of others is NULL.
SELECT a.pid, quote_ident(a.usename) AS role, a.application_name AS application, a.state,
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 200) AS query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS in_state,
       age(a.backend_xmin)::bigint AS holds, a.wait_event_type = 'Lock' AS waits
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.backend_type = 'client backend' AND a.xact_start IS NOT NULL
ORDER BY a.xact_start
LIMIT 200
