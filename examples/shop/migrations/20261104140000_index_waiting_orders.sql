-- The worker asks each second for what waits to be packed. CONCURRENTLY, so that nobody waits meanwhile: such a
-- statement runs in no transaction and stands alone in its file.

-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY orders_waiting ON orders (id) WHERE packed_at IS NULL;

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY orders_waiting;
