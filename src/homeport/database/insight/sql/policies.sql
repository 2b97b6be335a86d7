-- Tables with row-level security or policies, and their policies, one a row.
SELECT format('%I.%I', n.nspname, c.relname) AS "table", c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
       quote_ident(o.rolname) AS owner, o.rolcanlogin AS owner_logs_in, o.rolsuper AS owner_super,
       EXISTS (
           SELECT FROM pg_stat_activity AS s
           WHERE s.usesysid = c.relowner AND s.datname = current_database() AND s.pid <> pg_backend_pid()
             AND s.backend_type = 'client backend'
       ) AS owner_connected,
       quote_ident(p.polname) AS policy, p.polcmd::text AS command, p.polpermissive AS permissive,
       p.polroles = '{0}' AS everybody,
       pg_get_expr(p.polqual, p.polrelid) AS "using", pg_get_expr(p.polwithcheck, p.polrelid) AS "check",
       quote_ident(a.attname) AS owner_column, a.atttypid::regtype::text AS owner_type
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_roles AS o ON o.oid = c.relowner
LEFT JOIN pg_policy AS p ON p.polrelid = c.oid
LEFT JOIN LATERAL (
    SELECT attname, atttypid FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
      AND attname IN ('tenant_id', 'org_id', 'organization_id', 'account_id', 'owner_id', 'user_id')
    ORDER BY attnum
    LIMIT 1
) AS a ON true
WHERE (c.relrowsecurity OR p.oid IS NOT NULL) AND c.relkind IN ('r', 'p')
ORDER BY 1, p.polname
LIMIT 2000
