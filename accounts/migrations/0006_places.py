"""One question for all that a signed-in person belongs to: memberships with their workspaces."""

from django.db import migrations

MAKE = """
CREATE FUNCTION accounts_places(who uuid)
RETURNS TABLE (membership accounts_membership, workspace accounts_workspace) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('timebridge.user', who::text, true);
    RETURN QUERY SELECT place, studio FROM accounts_membership place
        JOIN accounts_workspace studio ON studio.id = place.workspace_id
        WHERE place.user_id = who ORDER BY studio.name, place.id;
    PERFORM set_config('timebridge.user', '', true);
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_api_key_holder")]

    operations = [migrations.RunSQL(MAKE, "DROP FUNCTION accounts_places(uuid)")]
