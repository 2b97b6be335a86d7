-- No release writes or reads orders.quantity any more. The check is validated first, while others read and write;
-- NOT NULL then needs no look at the rows, and the strong lock is short.
-- homeport:contract

-- migrate:up
ALTER TABLE orders VALIDATE CONSTRAINT orders_items_given;
ALTER TABLE orders ALTER COLUMN items SET NOT NULL;
ALTER TABLE orders DROP CONSTRAINT orders_items_given;
DROP TRIGGER orders_in_step ON orders;
DROP FUNCTION orders_in_step;
ALTER TABLE orders DROP COLUMN quantity;

-- migrate:down
ALTER TABLE orders ADD COLUMN quantity bigint;
UPDATE orders SET quantity = items;
ALTER TABLE orders ALTER COLUMN quantity SET NOT NULL;
ALTER TABLE orders ALTER COLUMN items DROP NOT NULL;
ALTER TABLE orders ADD CONSTRAINT orders_items_given CHECK (items IS NOT NULL) NOT VALID;

CREATE FUNCTION orders_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.quantity IS DISTINCT FROM OLD.quantity THEN
        NEW.items := NEW.quantity;
    ELSIF TG_OP = 'UPDATE' AND NEW.items IS DISTINCT FROM OLD.items THEN
        NEW.quantity := NEW.items;
    END IF;
    NEW.items := coalesce(NEW.items, NEW.quantity);
    NEW.quantity := coalesce(NEW.quantity, NEW.items);
    RETURN NEW;
END
$$;

CREATE TRIGGER orders_in_step BEFORE INSERT OR UPDATE ON orders
FOR EACH ROW EXECUTE FUNCTION orders_in_step();
