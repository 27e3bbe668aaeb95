-- Functions in schema `tenant` for authentication and for the operator's routes. `organizations` has
-- no view, because its rows belong to no organization.

-- The key of a secret, whatever its state: the caller of a secret may know why it is rejected.
CREATE FUNCTION tenant.authenticate(secret bytea)
RETURNS TABLE (key_id uuid, organization_id uuid, organization text, scopes text[],
               expires_at timestamptz, key_state text, granularity text,
               min_radius_m double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
DECLARE
    api_key api_keys%ROWTYPE;
    tenant_row organizations%ROWTYPE;
BEGIN
    SELECT * INTO api_key FROM api_keys k
     WHERE k.secret_sha256 = secret OR k.previous_secret_sha256 = secret;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO tenant_row FROM organizations o WHERE o.id = api_key.organization_id;
    key_id := api_key.id;
    organization_id := tenant_row.id;
    organization := tenant_row.name;
    scopes := api_key.scopes;
    expires_at := api_key.expires_at;
    granularity := api_key.granularity;
    min_radius_m := api_key.min_radius_m;
    key_state := CASE
        WHEN tenant_row.disabled_at IS NOT NULL THEN 'organization_disabled'
        WHEN api_key.revoked_at IS NOT NULL THEN 'key_revoked'
        WHEN api_key.expires_at <= now() THEN 'key_expired'
        WHEN api_key.secret_sha256 <> secret AND api_key.previous_secret_expires_at <= now()
            THEN 'secret_replaced'
        ELSE 'active' END;
    -- At most once a minute, so that a busy key does not turn every query into a write.
    IF key_state = 'active' THEN
        UPDATE api_keys k SET last_used_at = now()
         WHERE k.id = api_key.id
           AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    END IF;
    RETURN NEXT;
END $$;

-- Revoked keys count: revoking the last key must not enable access without a key.
CREATE FUNCTION tenant.any_keys() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT EXISTS (SELECT FROM api_keys) $$;

-- Names in the form of an id are refused at creation, so at most one row matches.
CREATE FUNCTION tenant.find_organization(name_or_id text)
RETURNS TABLE (id uuid, name text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    SELECT o.id, o.name, o.created_at FROM organizations o
     WHERE (o.name = name_or_id OR o.id::text = lower(name_or_id)) AND o.disabled_at IS NULL
$$;

CREATE FUNCTION tenant.list_organizations(
    after_created_at timestamptz, after_id uuid, max_rows integer)
RETURNS TABLE (id uuid, name text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    SELECT o.id, o.name, o.created_at FROM organizations o
     WHERE o.disabled_at IS NULL
       AND (after_id IS NULL OR (o.created_at, o.id) > (after_created_at, after_id))
     ORDER BY o.created_at, o.id LIMIT max_rows
$$;

CREATE FUNCTION tenant.create_organization(new_id uuid, new_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS
$$ INSERT INTO organizations (id, name) VALUES (new_id, new_name) $$;

CREATE FUNCTION tenant.disable_organization(organization_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    UPDATE organizations o SET disabled_at = now()
     WHERE o.id = organization_id AND o.disabled_at IS NULL
$$;

-- Replaces the secret of a key of the current organization. A function, because the API's role may
-- not read the hash that becomes the previous one.
CREATE FUNCTION tenant.rotate_key(key_id uuid, new_secret bytea, overlap_s double precision)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    UPDATE api_keys k
       SET previous_secret_sha256 = k.secret_sha256,
           previous_secret_expires_at = now() + make_interval(secs => overlap_s),
           secret_sha256 = new_secret, rotated_at = now()
     WHERE k.id = key_id AND k.organization_id = (SELECT tenant.organization())
$$;
