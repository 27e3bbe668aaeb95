-- Functions in schema `tenant`: all that the API's role may call besides its views.

CREATE FUNCTION tenant.organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('pinpoint.org', true), '')::uuid $$;

CREATE FUNCTION tenant.revision() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT version_num::text FROM alembic_version $$;

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
        (SELECT i.state FROM images i WHERE i.state = 'deleted' LIMIT max_count)),
    open_jobs AS MATERIALIZED (
        SELECT j.id, j.state, j.started_at FROM jobs j
         WHERE j.state IN ('validating', 'in_progress', 'finalizing', 'canceling')
         ORDER BY j.created_at LIMIT max_count),
    counted_jobs AS MATERIALIZED (
        SELECT o.state FROM open_jobs o
        UNION ALL
        (SELECT j.state FROM jobs j
          WHERE j.state IN ('completed', 'failed', 'expired', 'canceled') LIMIT max_count))
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
    SELECT 'jobs.' || j.state, count(*)::float8, now() FROM counted_jobs j GROUP BY j.state
    UNION ALL
    SELECT 'job_items.' || s.state,
           (SELECT count(*) FROM (
               SELECT FROM open_jobs o JOIN job_items i ON i.job_id = o.id
                WHERE i.state = s.state LIMIT max_count) n)::float8, now()
      FROM (VALUES ('open'), ('completed'), ('failed'), ('canceled')) AS s(state)
    UNION ALL
    SELECT 'job_items.oldest_s', extract(epoch FROM now() - min(o.started_at))::float8, now()
      FROM open_jobs o
     WHERE o.state = 'in_progress' AND EXISTS (
               SELECT FROM job_items i WHERE i.job_id = o.id AND i.state = 'open')
    HAVING count(*) > 0
    UNION ALL
    SELECT s.name, s.value, s.updated_at FROM maintenance_stats s
$$;
