SELECT quote_ident(rolname) AS role
FROM pg_authid
WHERE rolcanlogin AND rolpassword LIKE 'md5%'
ORDER BY rolname
LIMIT 200
