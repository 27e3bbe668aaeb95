-- Limits of API keys that differ from the settings, and the key of the hashes of the misuse rule.

CREATE TABLE key_limits (
    key_id uuid NOT NULL,
    requests_per_minute bigint,
    photos_per_day bigint,
    bytes_per_day bigint,
    concurrent_jobs bigint,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_key_limits PRIMARY KEY (key_id),
    CONSTRAINT fk_key_limits_key_id_api_keys FOREIGN KEY (key_id)
        REFERENCES api_keys (id) ON DELETE CASCADE,
    CONSTRAINT ck_key_limits_not_negative CHECK (
        least(requests_per_minute, photos_per_day, bytes_per_day, concurrent_jobs) >= 0)
);

-- Redis holds hashes only, and their key is here: a copy of either alone reveals no creator.
CREATE TABLE misuse_hash_keys (
    id boolean NOT NULL DEFAULT true,
    hash_key bytea NOT NULL,
    CONSTRAINT pk_misuse_hash_keys PRIMARY KEY (id),
    CONSTRAINT ck_misuse_hash_keys_single CHECK (id)
);
INSERT INTO misuse_hash_keys (hash_key)
VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

CREATE FUNCTION tenant.misuse_hash_key() RETURNS bytea LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT hash_key FROM misuse_hash_keys $$;

-- One row if the key exists; its limits are null unless they were set.
CREATE FUNCTION tenant.key_limits(key uuid)
RETURNS TABLE (requests_per_minute bigint, photos_per_day bigint, bytes_per_day bigint,
               concurrent_jobs bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    SELECT l.requests_per_minute, l.photos_per_day, l.bytes_per_day, l.concurrent_jobs
      FROM api_keys k LEFT JOIN key_limits l ON l.key_id = k.id WHERE k.id = key
$$;

CREATE FUNCTION tenant.set_key_limits(key uuid, requests bigint, photos bigint, bytes bigint,
                                      jobs bigint)
RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    WITH stored AS (
        INSERT INTO key_limits AS l (key_id, requests_per_minute, photos_per_day, bytes_per_day,
                                     concurrent_jobs)
        SELECT k.id, requests, photos, bytes, jobs FROM api_keys k
         WHERE k.id = key AND k.revoked_at IS NULL
        ON CONFLICT (key_id) DO UPDATE
           SET requests_per_minute = excluded.requests_per_minute,
               photos_per_day = excluded.photos_per_day, bytes_per_day = excluded.bytes_per_day,
               concurrent_jobs = excluded.concurrent_jobs, updated_at = now()
        RETURNING 1)
    SELECT EXISTS (SELECT FROM stored)
$$;
