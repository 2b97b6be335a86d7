-- migrate:up
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    since timestamptz NOT NULL DEFAULT now()
);

-- migrate:down
DROP TABLE customers;
