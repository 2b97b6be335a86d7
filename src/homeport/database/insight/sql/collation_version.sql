-- Indexes over text were sorted by another version of the machine's collation than it has now.
SELECT quote_ident(datname) AS name, datcollversion AS made, pg_database_collation_actual_version(oid) AS now
FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
