-- migrate:up
-- The key is the client's: an order that is sent again with it is stored once, and counted in "sent".
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    customer_id bigint REFERENCES customers (id),
    quantity bigint NOT NULL,
    sent bigint NOT NULL DEFAULT 1,
    placed_at timestamptz NOT NULL DEFAULT now(),
    packed_at timestamptz
);

-- migrate:down
DROP TABLE orders;
