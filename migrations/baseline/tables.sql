-- Tables, constraints and indexes, in schema `pinpoint`. `store/db/tables.py` explains the columns.

CREATE TABLE organizations (
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    disabled_at timestamptz,
    CONSTRAINT pk_organizations PRIMARY KEY (id),
    CONSTRAINT uq_organizations_name UNIQUE (name)
);

CREATE TABLE api_keys (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    secret_sha256 bytea NOT NULL,
    previous_secret_sha256 bytea,
    previous_secret_expires_at timestamptz,
    role text,
    scopes text[] NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    rotated_at timestamptz,
    revoked_at timestamptz,
    granularity text DEFAULT 'radius' NOT NULL,
    min_radius_m double precision DEFAULT 0 NOT NULL,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_secret_sha256 UNIQUE (secret_sha256),
    CONSTRAINT uq_api_keys_previous_secret_sha256 UNIQUE (previous_secret_sha256),
    CONSTRAINT ck_api_keys_granularity CHECK (
        granularity IN ('exact', 'radius', 'city', 'country', 'refuse')),
    CONSTRAINT ck_api_keys_min_radius_m CHECK (min_radius_m >= 0),
    CONSTRAINT fk_api_keys_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE INDEX ix_api_keys_organization_id_created_at
    ON api_keys (organization_id, created_at, id);

CREATE TABLE sources (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    license text,
    attribution text,
    originals text NOT NULL,
    image_access text DEFAULT 'full' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    erased_at timestamptz,
    CONSTRAINT pk_sources PRIMARY KEY (id),
    CONSTRAINT uq_sources_organization_id_name UNIQUE (organization_id, name),
    CONSTRAINT uq_sources_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT ck_sources_kind CHECK (kind IN ('photo', 'street')),
    CONSTRAINT ck_sources_image_access CHECK (image_access IN ('none', 'thumbnail', 'full')),
    CONSTRAINT ck_sources_originals CHECK (originals IN ('reference', 'copy', 'rendition')),
    CONSTRAINT fk_sources_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE TABLE source_roots (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    source_id uuid NOT NULL,
    name text NOT NULL,
    path text NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_source_roots PRIMARY KEY (id),
    CONSTRAINT uq_source_roots_source_id_name UNIQUE (source_id, name),
    CONSTRAINT fk_source_roots_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_source_roots_organization_id_source_id FOREIGN KEY (organization_id, source_id)
        REFERENCES sources (organization_id, id) ON DELETE CASCADE
);

CREATE TABLE images (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    source_id uuid NOT NULL,
    source_kind text NOT NULL,
    external_id text NOT NULL,
    cubemap_face text,
    panorama_id text,
    geog public.geography(Point, 4326) NOT NULL,
    geom public.geometry(Point, 4326) GENERATED ALWAYS AS (geog::public.geometry) STORED,
    captured_at timestamptz,
    heading_deg double precision,
    field_of_view_deg double precision,
    altitude_m double precision,
    camera text,
    creator text,
    sequence text,
    -- Layout of a UUID of version 3 (RFC 9562). Days are counted from 1970-01-01, UTC.
    collection_id uuid GENERATED ALWAYS AS (
        overlay(overlay(md5(source_id::text || CASE
            WHEN sequence <> '' THEN '/sequence/' || sequence
            ELSE '/day/' || coalesce(((captured_at AT TIME ZONE 'UTC')::date
                                      - DATE '1970-01-01')::text, '') END)
            PLACING '3' FROM 13) PLACING 'a' FROM 17)::uuid) STORED,
    license text,
    position_source text NOT NULL,
    time_source text,
    warnings text[] DEFAULT '{}' NOT NULL,
    sha256 bytea NOT NULL,
    size_bytes bigint NOT NULL,
    format text NOT NULL,
    width_px integer NOT NULL,
    height_px integer NOT NULL,
    uri text,
    cell_r5 bigint NOT NULL,
    cell_r7 bigint NOT NULL,
    cell_r9 bigint NOT NULL,
    attributes jsonb DEFAULT '{}' NOT NULL,
    field_layers jsonb DEFAULT '{}' NOT NULL,
    manual_fields text[] DEFAULT '{}' NOT NULL,
    state text NOT NULL,
    error_message text,
    version integer NOT NULL,
    ingest_seq bigint DEFAULT 0 NOT NULL,
    modified_xid bigint DEFAULT 0 NOT NULL,
    granularity text DEFAULT 'exact' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_images PRIMARY KEY (id),
    CONSTRAINT uq_images_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT ck_images_state CHECK (state IN ('pending', 'indexed', 'failed', 'deleted')),
    CONSTRAINT fk_images_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_images_organization_id_source_id FOREIGN KEY (organization_id, source_id)
        REFERENCES sources (organization_id, id)
);

CREATE INDEX ix_images_geog ON images USING gist (geog);
-- With the organization first: else the planner combines an index of positions with one that has all
-- images of the organization. Measured with a million images: 7,500 pages for a tile, now 140.
CREATE INDEX ix_images_organization_id_geom ON images USING gist (organization_id, geom);
CREATE INDEX ix_images_near_photo ON images USING gist (organization_id, geog)
    WHERE source_kind = 'photo' AND state = 'indexed';
CREATE INDEX ix_images_near_street ON images USING gist (organization_id, geog)
    WHERE source_kind = 'street' AND state = 'indexed';
-- Neighbors of points; half of the pages of the indexes of geographies are read.
CREATE INDEX ix_images_planar_photo ON images USING gist (organization_id, geom)
    WHERE source_kind = 'photo' AND state = 'indexed';
CREATE INDEX ix_images_planar_street ON images USING gist (organization_id, geom)
    WHERE source_kind = 'street' AND state = 'indexed';
CREATE INDEX ix_images_cell_r7_source_id ON images (cell_r7, source_id);
CREATE INDEX ix_images_source_id_external_id ON images (source_id, external_id);
CREATE INDEX ix_images_source_id_sha256 ON images (source_id, sha256);
-- Image lists are ordered by file name.
CREATE INDEX ix_images_organization_id_file_name ON images
    (organization_id, substring(external_id COLLATE "C", '[^/]*$'), id) WHERE state <> 'deleted';
CREATE INDEX ix_images_source_id_file_name ON images
    (source_id, substring(external_id COLLATE "C", '[^/]*$'), id) WHERE state <> 'deleted';
CREATE INDEX ix_images_organization_id_captured_at ON images (organization_id, captured_at);
CREATE INDEX ix_images_attributes ON images USING gin (attributes jsonb_path_ops);
CREATE INDEX ix_images_modified_xid ON images (modified_xid);
-- The items of a collection in the order of their capture, and collections page by page.
CREATE INDEX ix_images_collection_items ON images
    (organization_id, collection_id, coalesce(captured_at, 'infinity'::timestamptz),
     external_id COLLATE "C", id)
    WHERE state <> 'deleted';
-- A path of 4,096 bytes gives a URI of 12 kB; a b-tree entry is limited to 2.7 kB. A hash index
-- stores no text, and URIs are only compared for equality.
CREATE INDEX ix_images_uri ON images USING hash (uri);
-- Exclusions look images up by these values once per query. Measured with 200,000 images: 120 ms
-- with a table scan, 1 ms with these indexes.
-- With the id, they also give the pages of a filtered layer in their order.
CREATE INDEX ix_images_organization_id_creator_id ON images (organization_id, creator, id)
    WHERE creator IS NOT NULL;
CREATE INDEX ix_images_organization_id_sequence_id ON images (organization_id, sequence, id)
    WHERE sequence IS NOT NULL;
CREATE INDEX ix_images_organization_id_camera_id ON images (organization_id, camera, id)
    WHERE camera IS NOT NULL;
CREATE INDEX ix_images_organization_id_source_id_id ON images (organization_id, source_id, id);
CREATE INDEX ix_images_organization_id_source_kind_id ON images
    (organization_id, source_kind, id);
CREATE INDEX ix_images_organization_id_sha256 ON images (organization_id, sha256)
    WHERE sha256 IS NOT NULL;
CREATE INDEX ix_images_not_indexed ON images (state) WHERE state <> 'indexed';

CREATE TABLE thumbnails (
    image_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    jpeg bytea NOT NULL,
    CONSTRAINT pk_thumbnails PRIMARY KEY (image_id),
    CONSTRAINT fk_thumbnails_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_thumbnails_organization_id_image_id FOREIGN KEY (organization_id, image_id)
        REFERENCES images (organization_id, id) ON DELETE CASCADE
);

CREATE TABLE embeddings (
    image_id uuid NOT NULL,
    contract text NOT NULL,
    channel text NOT NULL,
    organization_id uuid NOT NULL,
    vector bytea NOT NULL,
    CONSTRAINT pk_embeddings PRIMARY KEY (image_id, contract, channel),
    CONSTRAINT fk_embeddings_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_embeddings_organization_id_image_id FOREIGN KEY (organization_id, image_id)
        REFERENCES images (organization_id, id) ON DELETE CASCADE
);

CREATE TABLE tombstones (
    image_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    version integer NOT NULL,
    modified_xid bigint DEFAULT 0 NOT NULL,
    deleted_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_tombstones PRIMARY KEY (image_id),
    CONSTRAINT fk_tombstones_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE TABLE cell_stats (
    cell bigint NOT NULL,
    source_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    granularity text DEFAULT 'exact' NOT NULL,
    -- Bits 52 to 55 of an H3 id.
    resolution smallint GENERATED ALWAYS AS (((cell >> 52) & 15)::smallint) STORED,
    images integer NOT NULL,
    panorama_faces integer NOT NULL,
    panoramas integer NOT NULL,
    first_captured_at timestamptz,
    last_captured_at timestamptz,
    x_sum double precision NOT NULL,
    y_sum double precision NOT NULL,
    z_sum double precision NOT NULL,
    geom public.geometry(Point, 4326) GENERATED ALWAYS AS (public.ST_SetSRID(public.ST_MakePoint(
        degrees(atan2(y_sum, x_sum)),
        degrees(atan2(z_sum, sqrt(x_sum * x_sum + y_sum * y_sum)))), 4326)) STORED,
    CONSTRAINT pk_cell_stats PRIMARY KEY (cell, source_id, granularity),
    CONSTRAINT fk_cell_stats_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_cell_stats_organization_id_source_id FOREIGN KEY (organization_id, source_id)
        REFERENCES sources (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_cell_stats_source_id_cell ON cell_stats (source_id, cell);
CREATE INDEX ix_cell_stats_organization_id_resolution_cell ON cell_stats
    (organization_id, resolution, cell);
CREATE INDEX ix_cell_stats_near ON cell_stats USING gist (organization_id, resolution, geom);

CREATE TABLE batches (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    source_id uuid NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    closed_at timestamptz,
    CONSTRAINT pk_batches PRIMARY KEY (id),
    CONSTRAINT uq_batches_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT fk_batches_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_batches_organization_id_source_id FOREIGN KEY (organization_id, source_id)
        REFERENCES sources (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_batches_organization_id_created_at ON batches (organization_id, created_at);

CREATE TABLE batch_items (
    id uuid NOT NULL,
    ingest_seq bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL,
    organization_id uuid NOT NULL,
    batch_id uuid NOT NULL,
    position bigint NOT NULL,
    external_id text NOT NULL,
    file text NOT NULL,
    uri text NOT NULL,
    metadata_override jsonb,
    status text NOT NULL,
    final_status text,
    error_stage text,
    error_code text,
    error_message text,
    notes text[] DEFAULT '{}' NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_until timestamptz,
    received_at timestamptz DEFAULT now() NOT NULL,
    processed_at timestamptz,
    CONSTRAINT pk_batch_items PRIMARY KEY (id),
    CONSTRAINT uq_batch_items_batch_id_position UNIQUE (batch_id, position),
    CONSTRAINT uq_batch_items_organization_id_id UNIQUE (organization_id, id),
    CONSTRAINT ck_batch_items_status CHECK (status IN (
        'received', 'stored', 'indexed', 'updated', 'duplicate', 'rejected', 'failed', 'canceled'
    )),
    CONSTRAINT fk_batch_items_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_batch_items_organization_id_batch_id FOREIGN KEY (organization_id, batch_id)
        REFERENCES batches (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_batch_items_batch_id_status ON batch_items (batch_id, status);
CREATE INDEX ix_batch_items_open ON batch_items (ingest_seq)
    WHERE status IN ('received', 'stored');
CREATE INDEX ix_batch_items_uri ON batch_items USING hash (uri)
    WHERE status IN ('received', 'stored');

CREATE TABLE item_images (
    item_id uuid NOT NULL,
    image_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    version integer NOT NULL,
    processed boolean DEFAULT false NOT NULL,
    CONSTRAINT pk_item_images PRIMARY KEY (item_id, image_id),
    CONSTRAINT fk_item_images_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id),
    CONSTRAINT fk_item_images_organization_id_item_id FOREIGN KEY (organization_id, item_id)
        REFERENCES batch_items (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT fk_item_images_organization_id_image_id FOREIGN KEY (organization_id, image_id)
        REFERENCES images (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_item_images_image_id ON item_images (image_id);

CREATE TABLE kept_queries (
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz NOT NULL,
    geom public.geometry(Point, 4326) NOT NULL,
    radius_m double precision,
    probability double precision,
    calibrated boolean NOT NULL,
    abstention_reason text,
    bundle text NOT NULL,
    is_coarse boolean DEFAULT false NOT NULL,
    granularity text DEFAULT 'exact' NOT NULL,
    CONSTRAINT pk_kept_queries PRIMARY KEY (id),
    CONSTRAINT fk_kept_queries_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE INDEX ix_kept_queries_organization_id_created_at
    ON kept_queries (organization_id, created_at);
CREATE INDEX ix_kept_queries_expires_at ON kept_queries (expires_at);
CREATE INDEX ix_kept_queries_geom ON kept_queries USING gist (geom);

CREATE TABLE installation (
    id uuid NOT NULL,
    only_row boolean DEFAULT true NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_installation PRIMARY KEY (only_row),
    CONSTRAINT ck_installation_only_row CHECK (only_row)
);

CREATE TABLE maintenance_stats (
    name text NOT NULL,
    value double precision NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_maintenance_stats PRIMARY KEY (name)
);
