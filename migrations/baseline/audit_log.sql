-- The audit log: who asked, exported or changed what, never a photo.

CREATE TABLE audit_log (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    key_id uuid,
    operation text NOT NULL,
    status text NOT NULL,
    request_id text,
    target_id uuid,
    photo_sha256 bytea,
    bundle text,
    index_build text,
    num_rows bigint,
    image_filter jsonb,
    lat double precision,
    lon double precision,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id),
    CONSTRAINT fk_audit_log_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

-- Pages, newest first: of all rows, of one key, and of one operation.
CREATE INDEX ix_audit_log_organization_id_created_at
    ON audit_log (organization_id, created_at, id);
CREATE INDEX ix_audit_log_organization_id_key_id
    ON audit_log (organization_id, key_id, created_at, id);
CREATE INDEX ix_audit_log_organization_id_operation
    ON audit_log (organization_id, operation, created_at, id);
-- For the retention: rows arrive in the order of time, so a few bytes cover many pages.
CREATE INDEX ix_audit_log_created_at ON audit_log USING brin (created_at);
