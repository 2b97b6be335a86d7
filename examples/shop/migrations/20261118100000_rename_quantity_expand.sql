-- orders.quantity becomes orders.items, in three files. Now both are there, and a trigger keeps them in step: the
-- release before writes the one, the next release the other, and each reads its own.

-- migrate:up
ALTER TABLE orders ADD COLUMN items bigint;
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

-- migrate:down
DROP TRIGGER orders_in_step ON orders;
DROP FUNCTION orders_in_step;
ALTER TABLE orders DROP COLUMN items;
