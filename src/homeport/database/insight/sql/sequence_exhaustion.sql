-- Sequences that columns take their values from, owned by them or named in their default.
WITH feeds AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_depend AS d
    JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_depend AS d
    JOIN pg_attrdef AS f ON f.oid = d.objid
    JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
)
SELECT format('%I.%I', q.schemaname, q.sequencename) AS sequence,
       format('%I.%I', n.nspname, c.relname) AS "table", quote_ident(a.attname) AS "column",
       a.atttypid::regtype::text AS type, q.data_type::text AS sequence_type,
       CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 ELSE q.max_value END
           AS column_most,
       q.max_value AS sequence_most, q.last_value, q.start_value, q.increment_by,
       has_sequence_privilege(s.oid, 'SELECT, USAGE') AS permitted
FROM feeds AS f
JOIN pg_class AS s ON s.oid = f.sequence
JOIN pg_namespace AS sn ON sn.oid = s.relnamespace
JOIN pg_sequences AS q ON q.schemaname = sn.nspname AND q.sequencename = s.relname
JOIN pg_class AS c ON c.oid = f.relation
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = f.relation AND a.attnum = f.number
WHERE NOT q.cycle AND q.increment_by > 0
  AND (q.last_value IS NOT NULL OR NOT has_sequence_privilege(s.oid, 'SELECT, USAGE'))
ORDER BY 1
LIMIT 5000
