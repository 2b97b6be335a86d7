-- The oldest tables; the first row is the database's.
SELECT 'database' AS kind, quote_ident(datname) AS name, age(datfrozenxid)::bigint AS xids,
       mxid_age(datminmxid)::bigint AS multixacts,
       current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
       current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixact_freeze_max_age
FROM pg_database
WHERE datname = current_database()
UNION ALL
SELECT * FROM (
    SELECT 'table', c.oid::regclass::text, age(c.relfrozenxid)::bigint, mxid_age(c.relminmxid)::bigint,
           0::bigint, 0::bigint
    FROM pg_class AS c
    WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
    ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC
    LIMIT 5
) AS oldest
