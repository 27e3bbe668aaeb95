-- Webhooks and the outbox of their deliveries, in schema `pinpoint`. `store/db/webhook_tables.py`
-- explains the columns.

CREATE TABLE webhooks (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    url text NOT NULL,
    event_types text[] NOT NULL,
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_secret_expires_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    disabled_at timestamptz,
    failing_since timestamptz,
    CONSTRAINT pk_webhooks PRIMARY KEY (id),
    CONSTRAINT uq_webhooks_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT fk_webhooks_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE INDEX ix_webhooks_organization_id_created_at ON webhooks (organization_id, created_at);

CREATE TABLE webhook_deliveries (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    body text NOT NULL,
    status text DEFAULT 'pending' NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    next_attempt_at timestamptz DEFAULT now() NOT NULL,
    response_status smallint,
    error_message text,
    created_at timestamptz DEFAULT now() NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
    CONSTRAINT ck_webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT fk_webhook_deliveries_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_webhook_deliveries_organization_id_webhook_id
        FOREIGN KEY (organization_id, webhook_id)
        REFERENCES webhooks (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_webhook_deliveries_webhook_id_created_at ON webhook_deliveries
    (webhook_id, created_at);
CREATE INDEX ix_webhook_deliveries_pending ON webhook_deliveries (next_attempt_at)
    WHERE status = 'pending';
