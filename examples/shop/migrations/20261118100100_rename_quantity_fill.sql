-- The orders from before get their items, a thousand at a time: each batch is committed, so no order is locked for
-- longer than that. Cut off and begun anew, it goes on where it was. The trigger does the filling.

-- migrate:up transaction:false
DO $$
DECLARE
    last bigint := 0;
    batch bigint;
BEGIN
    LOOP
        SELECT max(id) INTO batch FROM (SELECT id FROM orders WHERE id > last ORDER BY id LIMIT 1000) AS next;
        EXIT WHEN batch IS NULL;
        UPDATE orders SET items = quantity WHERE id > last AND id <= batch AND items IS NULL;
        COMMIT;
        last := batch;
    END LOOP;
END
$$;

-- migrate:down
-- What was filled goes with its column, in the file before.
SELECT 1;
