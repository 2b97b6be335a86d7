-- Counters begin at a reset of this database's, or of all of them (also after a crash).
SELECT quote_ident(current_database()) AS database, current_setting('server_version_num')::int AS version,
       clock_timestamp() AS at, quote_ident(session_user) AS session_user,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = session_user), false) AS super,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS reads_stats,
       pg_is_in_recovery() AS standby,
       extract(epoch FROM clock_timestamp() - greatest(d.stats_reset, b.stats_reset))::float8 AS statistics_age,
       pg_database_size(current_database()) AS bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       current_setting('max_connections')::int AS max_connections,
       d.blks_hit AS hits, d.blks_read AS reads, d.deadlocks, d.temp_bytes, d.xact_commit AS commits,
       d.xact_rollback AS rollbacks
FROM pg_stat_database AS d, pg_stat_bgwriter AS b
WHERE d.datname = current_database()
