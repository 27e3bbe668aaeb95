-- Removes everything that the baseline created, except the role and the extensions: other databases
-- of the cluster may use the role, and other schemas the extensions.

DROP OWNED BY pinpoint_api;
DROP SCHEMA tenant CASCADE;
DROP TABLE item_images, batch_items, batches, cell_stats, tombstones, embeddings, thumbnails, images,
    source_roots, sources, api_keys, audit_log, kept_queries, installation, maintenance_stats, organizations;
DROP FUNCTION count_updated(), count_deleted(), count_inserted(),
    recount(bigint[], uuid[], uuid[]), set_item_times(), count_rejected_item(), check_tombstone(), set_modified_xid();
