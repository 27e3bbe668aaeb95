-- Bucket listings, in schema `pinpoint`. `store/db/listing_tables.py` explains the columns.

CREATE TABLE bucket_listings (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    batch_id uuid NOT NULL,
    url text NOT NULL,
    after_key text,
    attempts smallint DEFAULT 0 NOT NULL,
    closes_batch boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_bucket_listings PRIMARY KEY (id),
    CONSTRAINT fk_bucket_listings_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_bucket_listings_organization_id_batch_id FOREIGN KEY (organization_id, batch_id)
        REFERENCES batches (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_bucket_listings_unfinished ON bucket_listings (batch_id)
    WHERE finished_at IS NULL;

-- A repeated request adds no URL twice to a batch.
CREATE INDEX ix_batch_items_remote ON batch_items (batch_id, external_id)
    WHERE uri NOT LIKE 'blob:%' AND uri NOT LIKE 'file:%';
