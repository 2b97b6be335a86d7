SELECT blks_hit AS hits, blks_read AS reads, current_setting('shared_buffers') AS shared_buffers,
       pg_size_bytes(current_setting('shared_buffers')) AS buffers, pg_database_size(datid) AS bytes
FROM pg_stat_database
WHERE datname = current_database()
