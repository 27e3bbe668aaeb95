-- Removes everything that the baseline created, except the roles and the extensions: other databases
-- of the cluster may use the roles, and other schemas the extensions.

DROP OWNED BY pinpoint_api, pinpoint_reader;
DROP SCHEMA layers CASCADE;
DROP SCHEMA tenant CASCADE;
DROP VIEW visible_images;
DROP TABLE webhook_deliveries, webhooks, bucket_listings, job_items, jobs, protected_areas,
    item_images, batch_items, batches, cell_stats, tombstones, embeddings, thumbnails, images,
    source_roots, sources, key_limits, misuse_hash_keys, api_keys, audit_log, kept_queries,
    quality_reports, idempotency_keys, installation, maintenance_stats, organizations;
DROP FUNCTION count_updated(), count_deleted(), count_inserted(),
    recount(bigint[], uuid[], uuid[]), lock_counters(uuid[]), cell_parent(bigint, integer),
    set_item_times(), set_image_granularity(), set_query_granularity(), mark_area_pending(),
    find_granularity(uuid, public.geometry), spell_position(public.geometry), count_rejected_item(),
    check_tombstone(), set_modified_xid();
