-- Schemas in which every role may create objects, and so put one in the way of another's.
SELECT quote_ident(n.nspname) AS schema
FROM pg_namespace AS n, LATERAL aclexplode(n.nspacl) AS g
WHERE g.grantee = 0 AND g.privilege_type = 'CREATE' AND n.nspname NOT LIKE 'pg\_%'
ORDER BY 1
LIMIT 200
