"""A large account for measurements. Entries share their strings and dates, so a million take some 350 MB."""

from __future__ import annotations

import random
from datetime import timedelta

from .state import ADMIN_TOKEN, Sandbox
from .timesheet import FIRST_ENTRY_ID, TimeEntry

CLIENTS, PROJECTS, TASKS, PEOPLE, DAYS = 20, 60, 8, 40, 3 * 365
_WORK = (
    "Review",
    "Wireframes",
    "Stand-up",
    "Bug fixing",
    "Copy",
    "Prototype",
    "",
    "Research",
    "Handover",
    "Tests",
)


def build_bulk(sandbox: Sandbox, entries: int) -> None:
    """Deterministic but for the clock's day, which is the last one with time."""
    chance = random.Random(entries)  # noqa: S311
    account = sandbox.add_account("Bulk Studio")
    people = [sandbox.add_person("Ada", "Admin", "ada@sandbox.example", "administrator", token=ADMIN_TOKEN)]
    for number in range(1, PEOPLE):
        people.append(sandbox.add_person("Person", f"{number:02}", f"person{number:02}@sandbox.example"))
    clients = [account.add_client(f"Client {number + 1:02}") for number in range(CLIENTS)]
    projects = [
        account.add_project(
            clients[number % CLIENTS], f"Project {number + 1:02}", f"P{number + 1:02}", bill_by="Tasks"
        )
        for number in range(PROJECTS)
    ]
    tasks = [account.add_task(f"Task {number + 1}", default_hourly_rate=90) for number in range(TASKS)]
    for project in projects:
        for task in tasks:
            account.assign_task(project, task)
        for person in people:
            account.assign_user(project, person)
    today, now = sandbox.clock().date(), sandbox.now()
    days = [today - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    stamps = [now - 86400 * (DAYS - 1 - number) for number in range(DAYS)]
    hours = [25 * step for step in range(1, 33)]
    notes = [f"{word} {number}".strip() if word else None for word in _WORK for number in range(50)]

    def made(number: int) -> TimeEntry:
        index = number * DAYS // entries
        return TimeEntry(
            FIRST_ENTRY_ID + number,
            days[index],
            chance.choice(people),
            chance.choice(projects),
            chance.choice(tasks),
            chance.choice(hours),
            chance.choice(notes),
            stamps[index],
            stamps[index],
        )

    account.timesheet.put_many(made(number) for number in range(entries))
