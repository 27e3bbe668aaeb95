-- The visibility view, and the views of GIS layers on top of it. All reads of gallery rows for users
-- (lists, items, layers, tiles, exports) go through `visible_images`.

-- LEFT JOIN: the planner drops it from statements that read no column of the source.
CREATE VIEW pinpoint.visible_images AS
SELECT i.id, i.organization_id, i.source_id, s.name AS source, i.source_kind,
       i.external_id, substring(i.external_id COLLATE "C", '[^/]*$') AS file_name,
       i.cubemap_face, i.panorama_id,
       -- A rendition is that of one face.
       i.cubemap_face IS NOT NULL AND s.originals <> 'rendition' AS is_panorama, i.geog, i.geom,
       public.ST_Y(i.geom) AS lat, public.ST_X(i.geom) AS lon,
       i.captured_at, i.heading_deg, i.field_of_view_deg, i.altitude_m, i.camera, i.creator,
       i.sequence, i.collection_id,
       -- The license in the photo's metadata takes precedence over that of its source.
       coalesce(nullif(i.license, ''), s.license) AS license,
       coalesce(nullif(s.attribution, ''), i.creator) AS attribution,
       i.position_source, i.time_source, i.warnings, i.sha256, i.size_bytes, i.format, i.width_px,
       i.height_px, i.uri, i.cell_r5, i.cell_r7, i.cell_r9, i.attributes, i.field_layers,
       i.manual_fields, i.granularity, s.image_access, i.state, i.error_message, i.version, i.created_at, i.updated_at
  FROM pinpoint.images i
  LEFT JOIN pinpoint.sources s ON s.id = i.source_id
 WHERE i.state <> 'deleted';

-- Images in protected areas are visible to callers that may see their granularity. Without the setting
-- of the transaction that is nobody.
CREATE VIEW tenant.visible_images AS
SELECT * FROM pinpoint.visible_images
 WHERE organization_id = (SELECT tenant.organization())
   AND granularity = ANY ((SELECT tenant.visible_granularities())::text[]);
GRANT SELECT ON tenant.visible_images TO pinpoint_api;

-- Schema `layers`: what GIS clients read, through a role that can read nothing else.
CREATE SCHEMA layers;
GRANT USAGE ON SCHEMA layers, tenant TO pinpoint_reader;
GRANT EXECUTE ON FUNCTION tenant.organization() TO pinpoint_reader;

-- Paths of files on the server are not public, and images that failed are not in the gallery.
CREATE VIEW layers.images AS
SELECT id, source_id, source, source_kind, external_id, file_name, cubemap_face, panorama_id,
       is_panorama, geog, geom, lat, lon, captured_at, heading_deg, field_of_view_deg, altitude_m,
       camera, creator, sequence, collection_id, license, attribution, position_source, time_source,
       encode(sha256, 'hex') AS sha256, size_bytes, format, width_px, height_px,
       CASE WHEN uri NOT LIKE 'file:%'
             AND (image_access = 'full' OR (SELECT tenant.is_operator())) THEN uri END AS uri,
       cell_r5, cell_r7, cell_r9, attributes, state, version, created_at, updated_at
  FROM tenant.visible_images
 WHERE state IN ('pending', 'indexed');
GRANT SELECT ON layers.images TO pinpoint_reader;

-- Cells with images, by source; `store/gallery/coverage_cells.py` adds them up.
CREATE VIEW layers.cell_counts AS
SELECT c.cell AS cell_id, c.resolution, c.source_id, s.name AS source, s.kind AS source_kind,
       s.license, s.attribution, c.images,
       CASE WHEN s.originals <> 'rendition' THEN c.panorama_faces ELSE 0 END AS panorama_faces,
       CASE WHEN s.originals <> 'rendition' THEN c.panoramas ELSE 0 END AS panoramas,
       c.first_captured_at, c.last_captured_at, c.x_sum,
       c.y_sum, c.z_sum, c.geom, public.ST_Y(c.geom) AS lat, public.ST_X(c.geom) AS lon
  FROM tenant.cell_stats c
  JOIN tenant.sources s ON s.id = c.source_id;

-- H3 cells by source kind; the position is the center of the images, not of the cell.
CREATE VIEW layers.coverage AS
SELECT cell_id, to_hex(cell_id) AS cell, resolution, source_kind,
       to_hex(cell_id) || '-' || source_kind AS id, sum(images) AS images,
       min(first_captured_at) AS first_captured_at, max(last_captured_at) AS last_captured_at,
       string_agg(DISTINCT nullif(license, ''), '; ') AS license,
       string_agg(DISTINCT nullif(attribution, ''), '; ') AS attribution,
       degrees(atan2(sum(z_sum), sqrt(sum(x_sum) ^ 2 + sum(y_sum) ^ 2))) AS lat,
       degrees(atan2(sum(y_sum), sum(x_sum))) AS lon
  FROM layers.cell_counts
 GROUP BY cell_id, resolution, source_kind;

-- H3 cells with images of one source kind only.
CREATE VIEW layers.gaps AS
SELECT cell_id, to_hex(cell_id) AS cell, resolution, min(source_kind) AS source_kind,
       to_hex(cell_id) AS id, sum(images) AS images,
       min(first_captured_at) AS first_captured_at, max(last_captured_at) AS last_captured_at,
       string_agg(DISTINCT nullif(license, ''), '; ') AS license,
       string_agg(DISTINCT nullif(attribution, ''), '; ') AS attribution,
       degrees(atan2(sum(z_sum), sqrt(sum(x_sum) ^ 2 + sum(y_sum) ^ 2))) AS lat,
       degrees(atan2(sum(y_sum), sum(x_sum))) AS lon
  FROM layers.cell_counts
 GROUP BY cell_id, resolution
HAVING min(source_kind) = max(source_kind);
GRANT SELECT ON layers.cell_counts, layers.coverage, layers.gaps TO pinpoint_reader;

-- Answers that callers asked to keep; an expired one disappears at once.
CREATE VIEW layers.queries AS
SELECT id, created_at, expires_at, public.ST_Y(geom) AS lat, public.ST_X(geom) AS lon, radius_m,
       probability, calibrated, abstention_reason, bundle, geom
  FROM tenant.kept_queries
 WHERE expires_at > now();
GRANT SELECT ON layers.queries TO pinpoint_reader;
