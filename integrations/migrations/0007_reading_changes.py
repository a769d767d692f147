from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0006_two_way")]

    operations = [
        migrations.AlterField(
            model_name="syncrun",
            name="kind",
            field=models.CharField(
                choices=[
                    ("import", "Import"),
                    ("sync", "Sync"),
                    ("auto", "Automated sync"),
                    ("changes", "Changes in between"),
                ],
                max_length=10,
            ),
        ),
    ]
