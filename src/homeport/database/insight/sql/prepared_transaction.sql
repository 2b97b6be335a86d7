SELECT gid, quote_ident(owner) AS role, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age,
       age(transaction)::bigint AS holds
FROM pg_prepared_xacts
WHERE database = current_database()
ORDER BY prepared
LIMIT 200
