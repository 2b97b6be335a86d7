SELECT format('%I.%I', n.nspname, t.relname) AS "table", quote_ident(c.conname) AS name, c.contype::text AS kind,
       pg_get_constraintdef(c.oid) AS definition, greatest(t.reltuples, 0)::bigint AS rows
FROM pg_constraint AS c
JOIN pg_class AS t ON t.oid = c.conrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE NOT c.convalidated AND c.contype IN ('f', 'c') AND c.conislocal
  -- NOT ENFORCED (from 18 on) is meant so.
  AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true'
ORDER BY 1, 2
LIMIT 200
