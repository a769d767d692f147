"""The months' totals hold all that a summary says: how many logs, and their billable seconds too."""

from importlib import import_module

from django.db import migrations, models

BEFORE = import_module("timelogs.migrations.0003_month_totals")
PARTS = """
    SELECT workspace_id, client_id, project_id, spent_date - (extract(day FROM spent_date)::int - 1) AS month,
        {sign}1 AS logs, {sign}seconds::bigint AS seconds,
        CASE WHEN billable THEN {sign}seconds::bigint ELSE 0 END AS billable_seconds,
        CASE WHEN billable THEN {sign}seconds * hourly_rate ELSE 0 END AS weighted
    FROM {rows} WHERE deleted_at IS NULL
"""
INSERT = """
    INSERT INTO {table} (id, workspace_id, client_id, project_id, month, logs, seconds, billable_seconds, weighted)
    SELECT uuidv7(), workspace_id, client_id, project_id, month,
        sum(logs), sum(seconds), sum(billable_seconds), sum(weighted)
    FROM ({parts}) AS parts GROUP BY workspace_id, client_id, project_id, month
    HAVING (sum(logs), sum(seconds), sum(billable_seconds), sum(weighted)) <> (0, 0, 0, 0)
"""
CHANGE = INSERT.format(table="timelogs_monthchange", parts="{parts}")
CAME = PARTS.format(sign="", rows="came")
WENT = PARTS.format(sign="-", rows="went")


def _keep(came: str, went: str, both: str) -> str:
    """The triggers' function. As ever, a statement writes rows of its own and touches none that is there."""
    return f"""
CREATE OR REPLACE FUNCTION timelogs_keep_month_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN {came};
    ELSIF TG_OP = 'DELETE' THEN {went};
    ELSE {both};
    END IF;
    RETURN NULL;
END $$;
"""


def _changes(change: str, came: str, went: str) -> list[str]:
    return [change.replace("{parts}", parts) for parts in (came, went, f"{came} UNION ALL {went}")]


# Nobody writes time between the emptying and the end of this transaction; who is about to waits.
EMPTY = """
LOCK TABLE timelogs_timelog IN SHARE ROW EXCLUSIVE MODE;
TRUNCATE timelogs_monthtotal, timelogs_monthchange;
"""
# The logs of all workspaces: for this one statement their owner, who runs migrations, looks past the policies.
FILL = f"""
ALTER TABLE timelogs_timelog NO FORCE ROW LEVEL SECURITY;
ALTER TABLE timelogs_monthtotal NO FORCE ROW LEVEL SECURITY;
{INSERT.format(table="timelogs_monthtotal", parts=PARTS.format(sign="", rows="timelogs_timelog"))};
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE timelogs_monthtotal FORCE ROW LEVEL SECURITY;
ALTER TABLE timelogs_timelog FORCE ROW LEVEL SECURITY;
"""
NAMES = ("monthtotal", "monthchange")
FIELDS = ("logs", "billable_seconds")


def _added(model: str, name: str) -> migrations.AddField:
    return migrations.AddField(
        model_name=model, name=name, field=models.BigIntegerField(default=0), preserve_default=False
    )


def _once(*include: str) -> models.UniqueConstraint:
    return models.UniqueConstraint(
        fields=("workspace", "client", "month", "project_id"),
        include=include,
        name="timelogs_monthtotal_once",
        nulls_distinct=False,
    )


class Migration(migrations.Migration):
    dependencies = [("timelogs", "0007_work_items_of_those_that_have_one")]

    operations = [
        migrations.RunSQL(EMPTY, migrations.RunSQL.noop),
        *(_added(model, name) for model in NAMES for name in FIELDS),
        migrations.RemoveConstraint("monthtotal", "timelogs_monthtotal_once"),
        migrations.AddConstraint("monthtotal", _once("logs", "seconds", "billable_seconds", "weighted")),
        migrations.RunSQL(
            _keep(*_changes(CHANGE, CAME, WENT)),
            _keep(*_changes(BEFORE.CHANGE, BEFORE.CAME, BEFORE.WENT)),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
