from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("timelogs", "0004_sums_from_the_index")]

    operations = [
        # Every way to a time log goes through its workspace, and references are composite: (workspace, id) is its key.
        # A second one, on the id alone, is paid for by every log that is written.
        migrations.RunSQL(
            "ALTER TABLE timelogs_timelog DROP CONSTRAINT timelogs_timelog_pkey",
            "ALTER TABLE timelogs_timelog ADD PRIMARY KEY (id)",
        ),
    ]
