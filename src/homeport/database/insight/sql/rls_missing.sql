-- Tables with a column that says whose a row is, and no row-level security; whether the database uses it at all.
SELECT format('%I.%I', n.nspname, c.relname) AS "table", quote_ident(a.attname) AS "column",
       a.atttypid::regtype::text AS type,
       EXISTS (SELECT FROM pg_policy) OR EXISTS (SELECT FROM pg_class WHERE relrowsecurity) AS used
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN LATERAL (
    SELECT attname, atttypid FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
      AND attname IN ('tenant_id', 'org_id', 'organization_id', 'account_id', 'owner_id', 'user_id')
    ORDER BY array_position(
        ARRAY['tenant_id', 'org_id', 'organization_id', 'account_id', 'owner_id', 'user_id']::name[], attname
    )
    LIMIT 1
) AS a ON true
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity
  AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
ORDER BY 1
LIMIT 500
