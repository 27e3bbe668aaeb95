-- Protected areas: places that must not be revealed. `store/db/protected_area_tables.py` explains the
-- columns; docs/explanation/protected-areas.md explains what callers see.
--
-- Granularities, finest first: exact, radius, city, country, refuse. Images and kept queries store the
-- granularity of their position (`exact` outside of all areas), so that no read compares geometries.

CREATE TABLE protected_areas (
    id uuid NOT NULL,
    organization_id uuid,
    name text NOT NULL,
    granularity text NOT NULL,
    min_radius_m double precision,
    purpose text NOT NULL,
    geom public.geometry(MultiPolygon, 4326) NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    deleted_at timestamptz,
    pending_geom public.geometry(Geometry, 4326),
    CONSTRAINT pk_protected_areas PRIMARY KEY (id),
    CONSTRAINT ck_protected_areas_granularity CHECK (
        granularity IN ('radius', 'city', 'country', 'refuse')),
    CONSTRAINT ck_protected_areas_min_radius_m CHECK (
        (granularity = 'radius') = (min_radius_m IS NOT NULL)),
    CONSTRAINT fk_protected_areas_organization_id FOREIGN KEY (organization_id)
        REFERENCES organizations (id)
);

CREATE UNIQUE INDEX uq_protected_areas_organization_id_name ON protected_areas
    (organization_id, name) NULLS NOT DISTINCT WHERE deleted_at IS NULL;
CREATE INDEX ix_protected_areas_geom ON protected_areas USING gist (geom);
CREATE INDEX ix_protected_areas_pending ON protected_areas (id) WHERE pending_geom IS NOT NULL;

-- What the caller of this transaction may see: `operator` and `all` see every row, `coarse` those of
-- areas that are not refused (only inside of a locate query), any other value only unprotected ones.
CREATE FUNCTION tenant.visible_granularities() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE current_setting('pinpoint.access', true)
           WHEN 'operator' THEN '{exact,radius,city,country,refuse}'::text[]
           WHEN 'all' THEN '{exact,radius,city,country,refuse}'::text[]
           WHEN 'coarse' THEN '{exact,radius,city,country}'::text[]
           ELSE '{exact}'::text[] END
$$;

CREATE FUNCTION tenant.is_operator() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(current_setting('pinpoint.access', true), '') = 'operator' $$;

-- Smallest radius of an answer that the caller may read, meters.
CREATE FUNCTION tenant.min_radius_m() RETURNS double precision LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(nullif(current_setting('pinpoint.min_radius_m', true), ''), '0')::float8 $$;

-- All spellings of a position: the meridian 180 has two longitudes, a pole has all of them.
CREATE FUNCTION spell_position(point public.geometry) RETURNS public.geometry
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pinpoint, public, pg_temp AS $$
    SELECT CASE
        WHEN abs(ST_Y(point)) = 90 THEN ST_SetSRID(ST_MakeLine(
            ST_MakePoint(-180, ST_Y(point)), ST_MakePoint(180, ST_Y(point))), 4326)
        WHEN abs(ST_X(point)) = 180 THEN ST_SetSRID(ST_Collect(
            ST_MakePoint(-180, ST_Y(point)), ST_MakePoint(180, ST_Y(point))), 4326)
        ELSE point END
$$;

-- Granularity of a position: the coarsest one of the areas that contain it, edges included.
CREATE FUNCTION find_granularity(org uuid, point public.geometry) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
    SELECT coalesce((
        SELECT a.granularity FROM protected_areas a
         WHERE a.deleted_at IS NULL AND (a.organization_id = org OR a.organization_id IS NULL)
           AND ST_Intersects(a.geom, spell_position(point))
         ORDER BY array_position('{refuse,country,city,radius}'::text[], a.granularity)
         LIMIT 1), 'exact')
$$;
REVOKE ALL ON FUNCTION find_granularity(uuid, public.geometry) FROM PUBLIC;

-- The lock is shared by writers of positions and exclusive for writers of areas: an image that is
-- written at the same time as an area is seen by one of the two. VOLATILE: the query after the lock
-- sees what was committed while it waited.
CREATE FUNCTION set_image_granularity() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(x'91420019'::bigint);
    NEW.granularity := find_granularity(NEW.organization_id, NEW.geog::geometry);
    RETURN NEW;
END $$;

CREATE TRIGGER set_granularity BEFORE INSERT OR UPDATE OF geog, organization_id ON images
    FOR EACH ROW EXECUTE FUNCTION set_image_granularity();

CREATE FUNCTION set_query_granularity() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(x'91420019'::bigint);
    -- A coarse answer reveals only what every caller may know.
    IF NOT NEW.is_coarse THEN
        NEW.granularity := find_granularity(NEW.organization_id, NEW.geom);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER set_granularity BEFORE INSERT ON kept_queries
    FOR EACH ROW EXECUTE FUNCTION set_query_granularity();

-- Rows inside `pending_geom` are compared with the areas by `apply_protected_areas`.
CREATE FUNCTION mark_area_pending() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(x'91420019'::bigint);
    IF TG_OP = 'INSERT' THEN
        NEW.pending_geom := NEW.geom;
    ELSE
        NEW.pending_geom := ST_Collect(ARRAY[OLD.pending_geom, OLD.geom, NEW.geom]);
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER mark_area_pending
    BEFORE INSERT OR UPDATE OF geom, granularity, min_radius_m, deleted_at ON protected_areas
    FOR EACH ROW EXECUTE FUNCTION mark_area_pending();

-- Writes the granularity of at most `max_images` images of one changed area; returns whether another
-- call is needed. A call is one short transaction: writers of the same sources wait for it.
CREATE FUNCTION tenant.apply_protected_areas(max_images integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
DECLARE
    area protected_areas%ROWTYPE;
    org uuid;
    remaining integer := max_images;
    changed integer;
BEGIN
    SELECT * INTO area FROM protected_areas WHERE pending_geom IS NOT NULL
     ORDER BY updated_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR org IN SELECT o.id FROM organizations o
                WHERE area.organization_id IS NULL OR o.id = area.organization_id ORDER BY o.id LOOP
        -- Sources first, in one order, as in every transaction that counts images.
        PERFORM lock_counters(array_agg(s.id)) FROM sources s WHERE s.organization_id = org;
        UPDATE images i SET granularity = t.expected
          FROM (SELECT c.id, e.expected FROM (
                    -- By parts, each of which the index finds.
                    SELECT DISTINCT ON (m.id) m.id, m.geom, m.granularity
                      FROM ST_Dump(area.pending_geom) d
                      JOIN images m ON m.organization_id = org
                           AND m.geom && ST_Expand(d.geom, 1e-6)
                    UNION
                    -- The meridian 180 and the poles have several spellings.
                    SELECT m.id, m.geom, m.granularity FROM images m
                     WHERE m.organization_id = org
                       AND (m.geom && ST_MakeEnvelope(-180, -90, -180, 90, 4326)
                            OR m.geom && ST_MakeEnvelope(180, -90, 180, 90, 4326)
                            OR m.geom && ST_MakeEnvelope(-180, 90, 180, 90, 4326)
                            OR m.geom && ST_MakeEnvelope(-180, -90, 180, -90, 4326))) c
                CROSS JOIN LATERAL (SELECT find_granularity(org, c.geom) AS expected) e
                 WHERE e.expected <> c.granularity
                 LIMIT remaining) t
         WHERE i.id = t.id;
        GET DIAGNOSTICS changed = ROW_COUNT;
        remaining := remaining - changed;
        IF remaining <= 0 THEN
            RETURN true;
        END IF;
        UPDATE kept_queries q SET granularity = find_granularity(org, q.geom)
         WHERE q.organization_id = org AND NOT q.is_coarse;
    END LOOP;
    IF area.deleted_at IS NULL THEN
        UPDATE protected_areas SET pending_geom = NULL WHERE id = area.id;
    ELSE
        DELETE FROM protected_areas WHERE id = area.id;
    END IF;
    RETURN EXISTS (SELECT FROM protected_areas WHERE pending_geom IS NOT NULL);
END $$;

-- Whether any area applies to the organization of this transaction.
CREATE FUNCTION tenant.has_protected_areas() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM protected_areas a
                    WHERE a.deleted_at IS NULL
                      AND (a.organization_id = (SELECT tenant.organization())
                           OR a.organization_id IS NULL))
$$;

-- The areas that contain each position, coarsest first, each with the polygon that contains it (WKB).
CREATE FUNCTION tenant.find_protected_areas(lats double precision[], lons double precision[])
RETURNS TABLE (number integer, granularity text, min_radius_m double precision, polygon bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
    SELECT p.number::integer, a.granularity, a.min_radius_m, ST_AsBinary(d.geom)
      FROM unnest(lats, lons) WITH ORDINALITY AS p(lat, lon, number)
      CROSS JOIN LATERAL (
            SELECT spell_position(ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326)) AS geom OFFSET 0) s
      JOIN protected_areas a ON ST_Intersects(a.geom, s.geom)
      CROSS JOIN LATERAL ST_Dump(a.geom) d
     WHERE a.deleted_at IS NULL
       AND (a.organization_id = (SELECT tenant.organization()) OR a.organization_id IS NULL)
       AND ST_Intersects(d.geom, s.geom)
     ORDER BY p.number, array_position('{refuse,country,city,radius}'::text[], a.granularity), a.id
$$;

-- The areas of the organization, and for the operator those of the whole installation.
ALTER TABLE protected_areas ENABLE ROW LEVEL SECURITY;
CREATE VIEW tenant.protected_areas AS
SELECT * FROM pinpoint.protected_areas
 WHERE organization_id = (SELECT tenant.organization())
    OR (organization_id IS NULL AND (SELECT tenant.is_operator()))
  WITH LOCAL CHECK OPTION;
GRANT SELECT, INSERT, UPDATE ON tenant.protected_areas TO pinpoint_api;
GRANT EXECUTE ON FUNCTION tenant.visible_granularities(), tenant.is_operator(), tenant.min_radius_m()
    TO pinpoint_api, pinpoint_reader;
