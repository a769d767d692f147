"""The audit trail is not emptied as a whole either: TRUNCATE passes by triggers on rows."""

from __future__ import annotations

from django.db import migrations

KEEP = """
CREATE FUNCTION accounts_auditevent_keep_whole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit trail is append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER accounts_auditevent_keep_whole BEFORE TRUNCATE ON accounts_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_auditevent_keep_whole();
"""
LOOSEN = """
DROP TRIGGER accounts_auditevent_keep_whole ON accounts_auditevent;
DROP FUNCTION accounts_auditevent_keep_whole();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_places")]

    operations = [migrations.RunSQL(KEEP, LOOSEN)]
