"""One question for all that a session says: its row, and of who is signed in by it the person and where they belong."""

from django.db import migrations

# Who that is: allauth's list of sessions says it. What a session keeps of itself only the application can read, and it
# compares (accounts/signed_in.py). The first row has the session and the person, every other one a place.
MAKE = """
CREATE FUNCTION accounts_session(its_key text, moment timestamptz)
RETURNS TABLE (
    session django_session, person accounts_user, membership accounts_membership, workspace accounts_workspace
) LANGUAGE plpgsql AS $$
DECLARE
    held django_session;
    somebody accounts_user;
BEGIN
    SELECT * INTO held FROM django_session WHERE session_key = its_key AND expire_date > moment;
    IF held.session_key IS NULL THEN
        RETURN;
    END IF;
    SELECT listed_person.* INTO somebody FROM usersessions_usersession listed
        JOIN accounts_user listed_person ON listed_person.id = listed.user_id WHERE listed.session_key = its_key;
    RETURN QUERY SELECT held, somebody, NULL::accounts_membership, NULL::accounts_workspace;
    IF somebody.is_active THEN
        PERFORM set_config('timebridge.user', somebody.id::text, true);
        RETURN QUERY SELECT NULL::django_session, NULL::accounts_user, place, studio FROM accounts_membership place
            JOIN accounts_workspace studio ON studio.id = place.workspace_id
            WHERE place.user_id = somebody.id ORDER BY studio.name, place.id;
        PERFORM set_config('timebridge.user', '', true);
    END IF;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_hashed_recovery_codes"),
        ("sessions", "0001_initial"),
        ("usersessions", "0001_initial"),
    ]

    operations = [migrations.RunSQL(MAKE, "DROP FUNCTION accounts_session(text, timestamptz)")]
