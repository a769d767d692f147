"""Totals by client, project and month that the database itself keeps true."""

import django.db.models.deletion
from django.db import migrations, models

import accounts.ids
import accounts.tenancy
from accounts.tenancy import ProtectTenant

PARTS = """
    SELECT workspace_id, client_id, project_id, spent_date - (extract(day FROM spent_date)::int - 1) AS month,
        {sign} seconds::bigint AS seconds,
        CASE WHEN billable THEN {sign} seconds * hourly_rate ELSE 0 END AS weighted
    FROM {rows} WHERE deleted_at IS NULL
"""
INSERT = """
    INSERT INTO {table} (id, workspace_id, client_id, project_id, month, seconds, weighted)
    SELECT uuidv7(), workspace_id, client_id, project_id, month, sum(seconds), sum(weighted)
    FROM ({parts}) AS parts GROUP BY workspace_id, client_id, project_id, month
    HAVING sum(seconds) <> 0 OR sum(weighted) <> 0
"""
CHANGE = INSERT.format(table="timelogs_monthchange", parts="{parts}")
CAME = PARTS.format(sign="", rows="came")
WENT = PARTS.format(sign="-", rows="went")

# A statement writes rows of its own and touches none that is there: nobody waits, whatever the order of the writers.
KEEP = f"""
CREATE FUNCTION timelogs_keep_month_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN {CHANGE.format(parts=CAME)};
    ELSIF TG_OP = 'DELETE' THEN {CHANGE.format(parts=WENT)};
    ELSE {CHANGE.format(parts=f"{CAME} UNION ALL {WENT}")};
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER timelogs_month_totals_insert AFTER INSERT ON timelogs_timelog
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION timelogs_keep_month_totals();
CREATE TRIGGER timelogs_month_totals_update AFTER UPDATE ON timelogs_timelog
    REFERENCING OLD TABLE AS went NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION timelogs_keep_month_totals();
CREATE TRIGGER timelogs_month_totals_delete AFTER DELETE ON timelogs_timelog
    REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION timelogs_keep_month_totals();
"""
UNDO_KEEP = """
DROP TRIGGER timelogs_month_totals_insert ON timelogs_timelog;
DROP TRIGGER timelogs_month_totals_update ON timelogs_timelog;
DROP TRIGGER timelogs_month_totals_delete ON timelogs_timelog;
DROP FUNCTION timelogs_keep_month_totals();
"""
# The logs of all workspaces: for this one statement their owner, who runs migrations, looks past the policies.
FILL = f"""
ALTER TABLE timelogs_timelog NO FORCE ROW LEVEL SECURITY;
{INSERT.format(table="timelogs_monthtotal", parts=PARTS.format(sign="", rows="timelogs_timelog"))};
ALTER TABLE timelogs_timelog FORCE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("clients", "0001_initial"),
        ("timelogs", "0002_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="MonthTotal",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("project_id", models.UUIDField(null=True)),
                ("month", models.DateField()),
                ("seconds", models.BigIntegerField()),
                ("weighted", models.DecimalField(decimal_places=2, max_digits=30)),
                (
                    "client",
                    accounts.tenancy.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="clients.client",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.workspace",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "client", "month", "project_id"),
                        include=("seconds", "weighted"),
                        name="timelogs_monthtotal_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MonthChange",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("project_id", models.UUIDField(null=True)),
                ("month", models.DateField()),
                ("seconds", models.BigIntegerField()),
                ("weighted", models.DecimalField(decimal_places=2, max_digits=30)),
                (
                    "client",
                    accounts.tenancy.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="clients.client",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.workspace",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        ProtectTenant("MonthTotal"),
        # The sweep finds the workspaces that have some, reading only.
        ProtectTenant(
            "MonthChange",
            spans={"sweep": "nullif(current_setting('timebridge.sweep', true), '') IS NOT NULL"},
        ),
        migrations.RunSQL(KEEP, UNDO_KEEP),
    ]
