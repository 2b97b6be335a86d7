-- The slots of the server, and the limits of this database and of roles that have one.
SELECT 'server' AS kind, '' AS name, max(total)::int AS most, count(a.pid)::int AS used,
       (count(a.pid) FILTER (WHERE a.state = 'idle'))::int AS idle
FROM (SELECT current_setting('max_connections')::int AS total) AS server
LEFT JOIN pg_stat_activity AS a ON a.backend_type = 'client backend'
UNION ALL
SELECT 'database', quote_ident(d.datname), d.datconnlimit, count(a.pid)::int,
       (count(a.pid) FILTER (WHERE a.state = 'idle'))::int
FROM pg_database AS d
LEFT JOIN pg_stat_activity AS a ON a.datid = d.oid AND a.backend_type = 'client backend'
WHERE d.datname = current_database() AND d.datconnlimit > 0
GROUP BY d.datname, d.datconnlimit
UNION ALL
SELECT 'role', quote_ident(r.rolname), r.rolconnlimit, count(a.pid)::int,
       (count(a.pid) FILTER (WHERE a.state = 'idle'))::int
FROM pg_roles AS r
JOIN pg_stat_activity AS a ON a.usesysid = r.oid AND a.backend_type = 'client backend'
WHERE r.rolconnlimit > 0
GROUP BY r.rolname, r.rolconnlimit
