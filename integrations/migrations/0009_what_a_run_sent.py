from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import accounts.tenancy
from accounts.tenancy import ProtectTenant

DEEDS = [
    ("pushed", "Made in Harvest"),
    ("sent", "Changed in Harvest"),
    ("replaced", "Made anew in Harvest for another person"),
    ("removed", "Deleted in Harvest"),
    ("sought", "Looked for in Harvest"),
    ("taken", "Changed here"),
    ("restored", "Made again here"),
    ("deleted", "Deleted here"),
    ("linked", "Linked"),
    ("unlinked", "Unlinked"),
    ("overruled", "Given up"),
    ("held", "Held"),
    ("conflict", "Conflict"),
    ("differs", "Differs"),
]


class Migration(migrations.Migration):
    dependencies = [("integrations", "0008_events_by_run")]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="web_address",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="outboundchange",
            name="run",
            field=accounts.tenancy.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="integrations.syncrun",
            ),
        ),
        migrations.AlterField(
            model_name="syncevent",
            name="deed",
            field=models.CharField(choices=DEEDS, max_length=10),
        ),
        migrations.RemoveConstraint(model_name="syncevent", name="integrations_event_deed"),
        migrations.AddConstraint(
            model_name="syncevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("deed__in", [deed for deed, _ in DEEDS])), name="integrations_event_deed"
            ),
        ),
        ProtectTenant(
            "OutboundChange",
            spans={"sweep": "nullif(current_setting('timebridge.sweep', true), '') IS NOT NULL"},
        ),
    ]
