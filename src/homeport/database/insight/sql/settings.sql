SELECT name, setting, unit, source, context
FROM pg_settings
WHERE name IN ('data_checksums', 'fsync', 'full_page_writes', 'zero_damaged_pages', 'autovacuum', 'track_counts',
               'ignore_checksum_failure', 'ignore_invalid_pages')
