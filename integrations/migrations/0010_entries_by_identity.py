from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0009_what_a_run_sent")]

    operations = [
        migrations.RemoveIndex(model_name="runentry", name="integrations_entry_newest"),
        migrations.AddConstraint(
            model_name="runentry",
            constraint=models.UniqueConstraint(
                fields=("workspace", "run", "id"), name="integrations_entry_key"
            ),
        ),
        # Every way to a run entry goes through its run: a second key, on the id alone, is paid for by every import.
        migrations.RunSQL(
            "ALTER TABLE integrations_runentry DROP CONSTRAINT integrations_runentry_pkey",
            "ALTER TABLE integrations_runentry ADD PRIMARY KEY (id)",
        ),
    ]
