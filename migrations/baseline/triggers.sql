-- Trigger functions and triggers: modification marks, item times and counters per cell.

CREATE FUNCTION set_modified_xid() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    NEW.modified_xid := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;

CREATE TRIGGER set_modified_xid BEFORE INSERT OR UPDATE ON images
    FOR EACH ROW EXECUTE FUNCTION set_modified_xid();
CREATE TRIGGER set_modified_xid BEFORE INSERT OR UPDATE ON tombstones
    FOR EACH ROW EXECUTE FUNCTION set_modified_xid();

-- A tombstone outlives its image, so no foreign key can ensure that both have the same owner.
CREATE FUNCTION check_tombstone() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM images
                    WHERE id = NEW.image_id AND organization_id = NEW.organization_id) THEN
        RAISE EXCEPTION 'no image % for this tombstone', NEW.image_id USING ERRCODE = '23503';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER check_tombstone BEFORE INSERT OR UPDATE OF image_id, organization_id ON tombstones
    FOR EACH ROW EXECUTE FUNCTION check_tombstone();

-- In the database instead of the code's statements, so that it covers every writer.
CREATE FUNCTION set_item_times() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.status IS DISTINCT FROM OLD.status THEN
        IF NEW.status IN ('received', 'stored') THEN
            IF TG_OP = 'UPDATE' AND OLD.status NOT IN ('received', 'stored') THEN
                NEW.received_at := now();
            END IF;
            NEW.processed_at := NULL;
        ELSE
            NEW.processed_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER set_item_times BEFORE INSERT OR UPDATE OF status ON batch_items
    FOR EACH ROW EXECUTE FUNCTION set_item_times();

-- Adds each item that gets the status `rejected` or `failed` to a total that never decreases. It runs
-- at the end of the transaction, which then waits for no other lock, and under one lock for all
-- transactions: two of them with the same codes in another order cannot deadlock.
CREATE FUNCTION count_rejected_item() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(x'91420018'::bigint);
    INSERT INTO maintenance_stats (name, value)
    VALUES ('rejected_items.' || NEW.status || '.' || coalesce(NEW.error_code, 'unknown'), 1)
    ON CONFLICT (name) DO UPDATE SET value = maintenance_stats.value + 1, updated_at = now();
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER count_rejected_insert AFTER INSERT ON batch_items
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status IN ('rejected', 'failed'))
    EXECUTE FUNCTION count_rejected_item();
CREATE CONSTRAINT TRIGGER count_rejected_update AFTER UPDATE OF status ON batch_items
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.status IN ('rejected', 'failed') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION count_rejected_item();

-- Counters of the H3 cells of resolution 3 to 7. A coarse cell counts the cells of resolution 7 with
-- this parent, so the counts of all resolutions add up to the same total. Images of each granularity
-- (protected_areas.sql) have counters of their own, so that a caller reads those it may see.

-- The parent of an H3 cell: the resolution is in bits 52 to 55; the digit of resolution r is in three
-- bits from bit 3 * (15 - r), and unused digits are 7 (H3 documentation, "H3 Index Inspection").
CREATE FUNCTION cell_parent(cell bigint, resolution integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (cell & ~(15::bigint << 52)) | (resolution::bigint << 52)
           | ((1::bigint << (3 * (15 - resolution))) - 1)
$$;

-- One writer of the counters of a source at a time, until its transaction ends: no increment is
-- lost, and the shared rows of coarse cells cannot deadlock. Ingest takes the same lock first
-- (`lock_source`).
CREATE FUNCTION lock_counters(touched_sources uuid[]) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(s.id::text, 0))
       FROM (SELECT DISTINCT id FROM unnest(touched_sources) AS u(id) ORDER BY id) s;
END $$;

REVOKE ALL ON FUNCTION lock_counters(uuid[]) FROM PUBLIC;

-- Counts cells again: those of resolution 7 from their images, and the coarser ones from the up to
-- seven cells below each of them.
CREATE FUNCTION recount(touched_cells bigint[], touched_sources uuid[], orgs uuid[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM lock_counters(touched_sources);
    DELETE FROM cell_stats n
     USING unnest(touched_cells, touched_sources) AS t(cell, source_id)
     WHERE n.cell = t.cell AND n.source_id = t.source_id;
    INSERT INTO cell_stats (cell, source_id, organization_id, granularity, images, panorama_faces,
                            panoramas, first_captured_at, last_captured_at, x_sum, y_sum, z_sum)
    SELECT t.cell, t.source_id, t.org, i.granularity, count(*), count(i.cubemap_face),
           count(*) FILTER (WHERE i.cubemap_face = 'front'), min(i.captured_at), max(i.captured_at),
           sum(cosd(ST_Y(i.geom)) * cosd(ST_X(i.geom))),
           sum(cosd(ST_Y(i.geom)) * sind(ST_X(i.geom))), sum(sind(ST_Y(i.geom)))
      FROM (SELECT DISTINCT ON (cell, source_id) cell, source_id, org
              FROM unnest(touched_cells, touched_sources, orgs) AS u(cell, source_id, org)) t
      JOIN images i ON i.cell_r7 = t.cell AND i.source_id = t.source_id
                   AND i.state IN ('pending', 'indexed')
     GROUP BY t.cell, t.source_id, t.org, i.granularity;
    FOR parent_resolution IN REVERSE 6..3 LOOP
        SELECT array_agg(cell), array_agg(source_id), array_agg(org)
          INTO touched_cells, touched_sources, orgs
          FROM (SELECT DISTINCT ON (1, 2) cell_parent(cell, parent_resolution) AS cell,
                       source_id, org
                  FROM unnest(touched_cells, touched_sources, orgs) AS u(cell, source_id, org)) t;
        DELETE FROM cell_stats n
         USING unnest(touched_cells, touched_sources) AS t(cell, source_id)
         WHERE n.cell = t.cell AND n.source_id = t.source_id;
        INSERT INTO cell_stats (cell, source_id, organization_id, granularity, images,
                                panorama_faces, panoramas, first_captured_at, last_captured_at,
                                x_sum, y_sum, z_sum)
        SELECT t.cell, t.source_id, t.org, c.granularity, sum(c.images), sum(c.panorama_faces),
               sum(c.panoramas), min(c.first_captured_at),
               max(c.last_captured_at), sum(c.x_sum), sum(c.y_sum), sum(c.z_sum)
          FROM unnest(touched_cells, touched_sources, orgs) AS t(cell, source_id, org)
          -- The next resolution, and the digits 0 to 6 at it.
          CROSS JOIN LATERAL (
                SELECT (t.cell + (1::bigint << 52))
                       - ((7 - digit)::bigint << (3 * (14 - parent_resolution))) AS cell
                  FROM generate_series(0, 6) AS d(digit)) child
          JOIN cell_stats c ON c.cell = child.cell AND c.source_id = t.source_id
         GROUP BY t.cell, t.source_id, t.org, c.granularity;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION recount(bigint[], uuid[], uuid[]) FROM PUBLIC;

-- New images are added to the counters of their cells; no other image is read.
CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM lock_counters(array_agg(source_id))
       FROM (SELECT DISTINCT source_id FROM after_rows) t;
    INSERT INTO cell_stats AS n (cell, source_id, organization_id, granularity, images,
                                 panorama_faces, panoramas, first_captured_at, last_captured_at,
                                 x_sum, y_sum, z_sum)
    SELECT cell_parent(i.cell_r7, r.resolution), i.source_id, i.organization_id, i.granularity,
           count(*), count(i.cubemap_face), count(*) FILTER (WHERE i.cubemap_face = 'front'),
           min(i.captured_at), max(i.captured_at), sum(i.x), sum(i.y), sum(i.z)
      FROM (SELECT a.cell_r7, a.source_id, a.organization_id, a.granularity, a.cubemap_face,
                   a.captured_at,
                   cosd(ST_Y(a.geom)) * cosd(ST_X(a.geom)) AS x,
                   cosd(ST_Y(a.geom)) * sind(ST_X(a.geom)) AS y, sind(ST_Y(a.geom)) AS z
              FROM after_rows a
             WHERE a.state IN ('pending', 'indexed')) i
      CROSS JOIN generate_series(3, 7) AS r(resolution)
     GROUP BY 1, 2, 3, 4
    ON CONFLICT (cell, source_id, granularity) DO UPDATE
       SET images = n.images + excluded.images,
           panorama_faces = n.panorama_faces + excluded.panorama_faces,
           panoramas = n.panoramas + excluded.panoramas,
           first_captured_at = least(n.first_captured_at, excluded.first_captured_at),
           last_captured_at = greatest(n.last_captured_at, excluded.last_captured_at),
           x_sum = n.x_sum + excluded.x_sum, y_sum = n.y_sum + excluded.y_sum,
           z_sum = n.z_sum + excluded.z_sum;
    RETURN NULL;
END $$;

CREATE TRIGGER count_inserted AFTER INSERT ON images REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_inserted();

CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT cell_r7, source_id, organization_id FROM before_rows
              WHERE state IN ('pending', 'indexed')) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER count_deleted AFTER DELETE ON images REFERENCING OLD TABLE AS before_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_deleted();

-- The change to `indexed` affects no counter, and it is the most frequent update: it is skipped.
CREATE FUNCTION count_updated() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT u.cell_r7, u.source_id, u.organization_id
               FROM before_rows b JOIN after_rows a ON a.id = b.id
               CROSS JOIN LATERAL (VALUES
                    (b.cell_r7, b.source_id, b.organization_id),
                    (a.cell_r7, a.source_id, a.organization_id))
                    AS u(cell_r7, source_id, organization_id)
              WHERE (b.state IN ('pending', 'indexed')) <> (a.state IN ('pending', 'indexed'))
                 OR b.granularity <> a.granularity OR b.cell_r7 <> a.cell_r7 OR b.source_id <> a.source_id
                 OR NOT ST_Equals(b.geom, a.geom)
                 OR b.captured_at IS DISTINCT FROM a.captured_at) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER count_updated AFTER UPDATE ON images
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_updated();
