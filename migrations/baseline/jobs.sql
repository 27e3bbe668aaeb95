-- Locate jobs of the API and their items. An item's row outlives its photo: the blob of `uri` is
-- deleted when the item ends, then `uri` becomes null.

CREATE TABLE jobs (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    key_id uuid,
    state text NOT NULL,
    parameters jsonb DEFAULT '{}' NOT NULL,
    has_lines boolean NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    started_at timestamptz,
    claimed_at timestamptz,
    ended_at timestamptz,
    expires_at timestamptz NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT uq_jobs_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT ck_jobs_state CHECK (state IN (
        'validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'canceling',
        'canceled'
    )),
    CONSTRAINT fk_jobs_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE INDEX ix_jobs_organization_id_created_at ON jobs (organization_id, created_at, id);
CREATE INDEX ix_jobs_open ON jobs (created_at)
    WHERE state IN ('validating', 'in_progress', 'finalizing', 'canceling');

CREATE TABLE job_items (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    job_id uuid NOT NULL,
    position bigint NOT NULL,
    line_number integer,
    custom_id text,
    file text,
    url text,
    uri text,
    parameters jsonb DEFAULT '{}' NOT NULL,
    state text NOT NULL,
    error_code text,
    error_message text,
    result text,
    lat double precision,
    lon double precision,
    attempts smallint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_until timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    ended_at timestamptz,
    CONSTRAINT pk_job_items PRIMARY KEY (id),
    CONSTRAINT uq_job_items_job_id_position UNIQUE (job_id, position),
    CONSTRAINT ck_job_items_state CHECK (state IN ('open', 'completed', 'failed', 'canceled')),
    CONSTRAINT fk_job_items_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_job_items_organization_id_job_id FOREIGN KEY (organization_id, job_id)
        REFERENCES jobs (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_job_items_job_id_state ON job_items (job_id, state, position);
-- The second line or file with a custom_id has no item of its own, or an item that failed at once.
CREATE UNIQUE INDEX uq_job_items_custom_id ON job_items (job_id, custom_id)
    WHERE error_code IS DISTINCT FROM 'duplicate_custom_id'
      AND error_code IS DISTINCT FROM 'invalid_line';
CREATE INDEX ix_job_items_job_id_file ON job_items (job_id, file) WHERE state = 'open';
-- Photos that are stored: of open items, and of ended ones until they are deleted.
CREATE INDEX ix_job_items_uri ON job_items USING hash (uri) WHERE uri IS NOT NULL;
CREATE INDEX ix_job_items_photos ON job_items (job_id) WHERE uri IS NOT NULL;
