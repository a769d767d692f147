from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def confirm_addresses(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Who is here was added by an admin or an operator, and got in by a link to this address or was given a password."""
    address = apps.get_model("account", "EmailAddress")
    known = set(address.objects.filter(primary=True).values_list("user_id", flat=True))
    address.objects.bulk_create(
        (
            address(user_id=id, email=email.lower(), verified=True, primary=True)
            for id, email in apps.get_model("accounts", "User").objects.values_list("id", "email")
            if id not in known
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_audit_export_deletion"),
        ("account", "0009_emailaddress_unique_primary_email"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="require_second_factor",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(confirm_addresses, migrations.RunPython.noop),
    ]
