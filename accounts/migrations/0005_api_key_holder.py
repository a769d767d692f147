"""One question for all that an API key says: the key, its person, their place and the workspace."""

from django.db import migrations

# The spans are opened one after the other, each for what the one before has proved, and closed again; an error takes the
# settings back with everything else, since they are the transaction's.
MAKE = """
CREATE FUNCTION accounts_api_key_holder(its_prefix text, its_hash text, moment timestamptz)
RETURNS TABLE (key accounts_apikey, membership accounts_membership, workspace accounts_workspace, person accounts_user)
LANGUAGE plpgsql AS $$
DECLARE
    held accounts_apikey;
BEGIN
    PERFORM set_config('timebridge.api_key', its_prefix, true);
    SELECT * INTO held FROM accounts_apikey WHERE prefix = its_prefix AND secret_hash = its_hash
        AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > moment);
    PERFORM set_config('timebridge.api_key', '', true);
    IF held.id IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('timebridge.user', held.user_id::text, true);
    RETURN QUERY SELECT held, place, studio, somebody FROM accounts_membership place
        JOIN accounts_workspace studio ON studio.id = place.workspace_id
        JOIN accounts_user somebody ON somebody.id = place.user_id
        WHERE place.user_id = held.user_id AND place.workspace_id = held.workspace_id AND somebody.is_active;
    PERFORM set_config('timebridge.user', '', true);
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_second_factor")]

    operations = [
        migrations.RunSQL(MAKE, "DROP FUNCTION accounts_api_key_holder(text, text, timestamptz)"),
    ]
