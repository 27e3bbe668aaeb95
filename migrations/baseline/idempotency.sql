CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL,
    caller_id uuid NOT NULL,
    route text NOT NULL,
    key_sha256 bytea NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (organization_id, caller_id, route, key_sha256),
    CONSTRAINT fk_idempotency_keys_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE INDEX ix_idempotency_keys_organization_id_expires_at
    ON idempotency_keys (organization_id, expires_at);
