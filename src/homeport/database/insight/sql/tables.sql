-- How well autovacuum keeps the tables.
SELECT format('%I.%I', s.schemaname, s.relname) AS "table", s.n_live_tup AS live, s.n_dead_tup AS dead,
       c.reltuples::bigint AS estimated, s.n_mod_since_analyze AS changed,
       greatest(s.last_analyze, s.last_autoanalyze) IS NULL AS never_analysed,
       greatest(s.last_vacuum, s.last_autovacuum) IS NULL AS never_vacuumed,
       extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8 AS vacuumed,
       EXISTS (
           SELECT FROM pg_options_to_table(c.reloptions)
           WHERE option_name = 'autovacuum_enabled' AND option_value IN ('false', 'off', 'no', '0', 'f', 'n')
       ) AS autovacuum_off,
       c.relpages * 8192::bigint AS bytes
FROM pg_stat_user_tables AS s
JOIN pg_class AS c ON c.oid = s.relid
WHERE c.relkind IN ('r', 'm')
ORDER BY c.relpages DESC, greatest(s.n_live_tup, s.n_mod_since_analyze) DESC
LIMIT 5000
