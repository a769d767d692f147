"""Nothing that a test commits is there for the next one."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import TransactionTestCase

from accounts.models import Membership
from tests.emptying import Emptying
from tests.factories import make_budget, make_client, make_key, make_proposal, make_session, make_time_log

MADE = {"django_migrations", "django_content_type", "auth_permission"}


def test_every_table_is_empty_again(emptying: Emptying, admin: Membership, stranger: Membership) -> None:
    before = emptying.rows()
    for person in (admin, stranger):
        client = make_client(person.workspace)
        make_time_log(person, client)
        make_proposal(person, client)
        make_budget(client)
        make_key(person)
        make_session(person)
    written = emptying.rows()
    assert len(written.keys() - MADE) > 12
    assert written["accounts_workspace"] == 2
    TransactionTestCase._fixture_teardown(None)  # type: ignore[attr-defined] # what ends a test
    assert emptying.rows().keys() == MADE
    assert emptying.rows() == {name: before[name] for name in MADE}


def test_who_is_still_writing_is_waited_for(emptying: Emptying) -> None:
    late = psycopg.connect(emptying.url)
    late.execute("CREATE TABLE late (one int)")
    late.commit()
    late.execute("INSERT INTO late VALUES (1)")
    waiting = threading.Thread(target=emptying.empty)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    late.commit()
    waiting.join(20)
    assert "late" not in emptying.rows()
    late.execute("DROP TABLE late")
    late.commit()
    late.close()


def test_what_the_migrations_made_must_stay(emptying: Emptying) -> None:
    kind = ContentType.objects.create(app_label="left", model="behind")
    with pytest.raises(AssertionError, match="left rows behind"):
        emptying.empty()
    kind.delete()
    emptying.empty()
