-- Reports of evaluations and calibrations, as the command line made them; the API shows them.
CREATE TABLE quality_reports (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    kind text NOT NULL,
    bundle text NOT NULL,
    document jsonb NOT NULL,
    CONSTRAINT pk_quality_reports PRIMARY KEY (id),
    CONSTRAINT fk_quality_reports_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT ck_quality_reports_kind CHECK (kind IN ('evaluation', 'calibration'))
);

CREATE INDEX ix_quality_reports_organization_id_created_at
    ON quality_reports (organization_id, created_at);
