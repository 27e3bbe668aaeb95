-- Functions in schema `tenant`: all that the API's role may call besides its views.

CREATE FUNCTION tenant.organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('pinpoint.org', true), '')::uuid $$;

CREATE FUNCTION tenant.revision() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT version_num::text FROM alembic_version $$;

CREATE FUNCTION tenant.authenticate(secret bytea)
RETURNS TABLE (key_id uuid, organization_id uuid, organization text, scopes text[],
               granularity text, min_radius_m double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    -- At most once a minute, so that a busy key does not turn every query into a write.
    UPDATE api_keys k SET last_used_at = now()
     WHERE k.secret_sha256 = secret AND k.revoked_at IS NULL
       AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    RETURN QUERY
        SELECT k.id, o.id, o.name, k.scopes, k.granularity, k.min_radius_m
          FROM api_keys k JOIN organizations o ON o.id = k.organization_id
         WHERE k.secret_sha256 = secret AND k.revoked_at IS NULL AND o.disabled_at IS NULL;
END $$;

-- Revoked keys count: revoking the last key must not enable access without a key.
CREATE FUNCTION tenant.any_keys() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT EXISTS (SELECT FROM api_keys) $$;

CREATE FUNCTION tenant.organization_named(organization_name text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS
$$ SELECT id FROM organizations WHERE name = organization_name AND disabled_at IS NULL $$;

CREATE FUNCTION tenant.installation() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT id FROM installation $$;

-- Statistics over all organizations; no name, no id. Every count stops at `max_count`, so that a
-- call never reads a table of millions; such a number means "at least".
CREATE FUNCTION tenant.totals(max_count integer)
RETURNS TABLE (name text, value double precision, updated_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    WITH open_items AS MATERIALIZED (
        SELECT i.status, i.received_at, i.lease_until FROM batch_items i
         WHERE i.status IN ('received', 'stored') ORDER BY i.ingest_seq LIMIT max_count),
    unprocessed AS MATERIALIZED (
        (SELECT i.state FROM images i WHERE i.state = 'pending' LIMIT max_count)
        UNION ALL
        (SELECT i.state FROM images i WHERE i.state = 'deleted' LIMIT max_count))
    SELECT 'items.' || s.status, count(o.status)::float8, now()
      FROM (VALUES ('received'), ('stored')) AS s(status)
      LEFT JOIN open_items o ON o.status = s.status GROUP BY s.status
    UNION ALL
    SELECT 'items.oldest_s', extract(epoch FROM now() - min(o.received_at))::float8, now()
      FROM open_items o HAVING count(*) > 0
    UNION ALL
    SELECT 'leases.held', count(*) FILTER (WHERE o.lease_until >= now())::float8, now()
      FROM open_items o
    UNION ALL
    SELECT 'leases.expired', count(*) FILTER (WHERE o.lease_until < now())::float8, now()
      FROM open_items o
    UNION ALL
    SELECT 'images.' || s.state, count(u.state)::float8, now()
      FROM (VALUES ('pending'), ('deleted')) AS s(state)
      LEFT JOIN unprocessed u ON u.state = s.state GROUP BY s.state
    UNION ALL
    SELECT 'tombstones', count(*)::float8, now()
      FROM (SELECT FROM tombstones LIMIT max_count) t
    UNION ALL
    SELECT s.name, s.value, s.updated_at FROM maintenance_stats s
$$;
