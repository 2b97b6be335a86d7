-- SECURITY DEFINER without a search_path of its own. A body in SQL's standard form is bound when it is made.
SELECT p.oid::regprocedure::text AS function, quote_ident(n.nspname) AS schema, quote_ident(o.rolname) AS owner,
       o.rolsuper AS super, p.prokind::text AS kind,
       has_function_privilege('public', p.oid, 'EXECUTE') AS everybody
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_roles AS o ON o.oid = p.proowner
JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.prosecdef AND p.prosqlbody IS NULL AND l.lanname NOT IN ('internal', 'c')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s (setting) WHERE s.setting LIKE 'search\_path=%')
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  )
ORDER BY 1
LIMIT 200
