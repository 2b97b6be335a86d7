SELECT e.extname::text AS name, quote_ident(n.nspname) AS schema, e.extversion AS version
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace
