from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("integrations", "0012_changes_by_run")]

    operations = [
        # Nothing refers to links, so nothing needs this; adding a reference to the table had brought it back.
        migrations.RunSQL(
            "ALTER TABLE integrations_synclink DROP CONSTRAINT IF EXISTS integrations_synclink_tenant_key",
            "ALTER TABLE integrations_synclink ADD CONSTRAINT integrations_synclink_tenant_key"
            " UNIQUE (workspace_id, id)",
        ),
    ]
