from django.db import migrations


def forget_seeds(apps, schema_editor):
    """Codes that could be made again from what is kept end; their people make new ones, under Security."""
    rows = apps.get_model("mfa", "Authenticator").objects.filter(type="recovery_codes")
    rows.exclude(data__has_key="hashes").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_one_index_on_the_workspace"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [migrations.RunPython(forget_seeds, migrations.RunPython.noop)]
