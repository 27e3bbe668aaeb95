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

-- The rows are locked first and counted afterwards: under READ COMMITTED the second statement reads
-- rows that a concurrent writer of the same cell has committed meanwhile, so no count is lost.
CREATE FUNCTION recount(touched_cells bigint[], touched_sources uuid[], orgs uuid[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    INSERT INTO cell_stats (cell, source_id, organization_id, images)
    SELECT DISTINCT ON (t.cell, t.source_id) t.cell, t.source_id, t.org, 0
      FROM unnest(touched_cells, touched_sources, orgs) AS t(cell, source_id, org)
     ORDER BY t.cell, t.source_id
    ON CONFLICT (cell, source_id) DO UPDATE SET images = cell_stats.images;

    UPDATE cell_stats n
       SET images = c.images, first_captured_at = c.first_at, last_captured_at = c.last_at,
           lat = c.lat, lon = c.lon
      FROM (SELECT DISTINCT cell, source_id FROM unnest(touched_cells, touched_sources)
                AS t(cell, source_id)) t
      CROSS JOIN LATERAL (
            SELECT count(*)::int AS images, min(i.captured_at) AS first_at,
                   max(i.captured_at) AS last_at,
                   ST_Y(m.center) AS lat, ST_X(m.center) AS lon
              FROM images i
              CROSS JOIN LATERAL (
                    SELECT ST_Centroid(ST_Collect(j.geom)::geography)::geometry AS center
                      FROM images j
                     WHERE j.cell_r7 = t.cell AND j.source_id = t.source_id
                       AND j.state IN ('pending', 'indexed')) m
             WHERE i.cell_r7 = t.cell AND i.source_id = t.source_id
               AND i.state IN ('pending', 'indexed')
             GROUP BY m.center) c
     WHERE n.cell = t.cell AND n.source_id = t.source_id;

    DELETE FROM cell_stats n
     USING (SELECT DISTINCT cell, source_id FROM unnest(touched_cells, touched_sources)
                AS t(cell, source_id)) t
     WHERE n.cell = t.cell AND n.source_id = t.source_id
       AND NOT EXISTS (SELECT FROM images i
                        WHERE i.cell_r7 = n.cell AND i.source_id = n.source_id
                          AND i.state IN ('pending', 'indexed'));
END $$;

REVOKE ALL ON FUNCTION recount(bigint[], uuid[], uuid[]) FROM PUBLIC;

CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT cell_r7, source_id, organization_id FROM after_rows) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER count_inserted AFTER INSERT ON images REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_inserted();

CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT cell_r7, source_id, organization_id FROM before_rows) t
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
                 OR b.cell_r7 <> a.cell_r7
                 OR NOT ST_Equals(b.geom, a.geom)
                 OR b.captured_at IS DISTINCT FROM a.captured_at) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER count_updated AFTER UPDATE ON images
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_updated();
