"""A run as pages tell it: its headline, its groups of entries, and beside each what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from integrations.models import Outcome, Reason, RunEntry, RunKind, RunState, SyncRun
from integrations.runs import GUARDS, Counts, asked, counts_of, headline, shown_total

# Seconds between two looks at a live run: short ones end soon, and long ones need no hurry.
YOUNG, QUICK, CALM = 6, "300ms", "1s"
TONES: dict[str, str] = {RunState.SUCCEEDED: "good", RunState.PARTIAL: "warn", RunState.FAILED: "bad"}

ADVICE = {
    Reason.PROJECT_NOT_MAPPED: "Map their projects, or their clients; then they can come in.",
    Reason.TASK_NOT_MAPPED: "Map their tasks to activity types; then they can come in.",
    Reason.ALREADY_IMPORTED: "Nothing to do: this time is here.",
    Reason.TIMER_RUNNING: "Stop the timer in Harvest, then import these days again.",
    Reason.NO_FALLBACK_OWNER: "Map their people to members, or connect again as somebody who is a member here.",
    Reason.DISMISSED: "They were dismissed in Inbound and stay out until they are restored there.",
    Reason.SETTLED: "They are on an issued statement, which nothing changes.",
    Reason.SAVE_FAILED: "Each entry says why. Put it right in Harvest, then import these days again.",
    Reason.HARVEST_ERROR: "Harvest did not answer as it should. Import these days again.",
    Reason.MOVED_SINCE_PREVIEW: "They changed after the preview. Preview these days again.",
}

MEANS = {
    Outcome.UPDATED: "They were changed in Harvest since they came in, and are the same here now.",
    Outcome.LINKED: "This time was here already: pushed before, or logged in both systems. It was joined, not "
    "imported. Unlink what is other time.",
    Outcome.DELETED: "They were deleted in Harvest, so they are deleted here. Deleted time can be restored.",
}
# What a preview plans to do, and *Import exactly this* does.
APPLIED = (Outcome.IMPORTED, Outcome.PROPOSED, Outcome.UPDATED, Outcome.LINKED, Outcome.DELETED)
# What a guard found that stopped a sync from deleting, and what it asks; those that can be answered with "go on".
QUESTIONS = {
    "many_gone": "Unusually many linked entries are gone from Harvest at once, so nothing was deleted here. Were they "
    "deleted there on purpose?",
    "sees_less": "The token sees less of Harvest than before, and not these entries any more, so nothing was deleted "
    "here. Are they gone from Harvest?",
}


@dataclass(frozen=True, slots=True)
class Link:
    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one outcome (and reason): how many, what to do, and where to see them."""

    label: str
    count: int
    url: str
    key: str
    advice: str = ""
    remedy: Link | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a guard asks of a person. can_go_on: whether deleting after all is an answer; else it needs a remedy."""

    words: str
    count: int
    can_go_on: bool
    remedy: Link | None


@dataclass(frozen=True, slots=True)
class Result:
    """A run and what it came to so far."""

    run: SyncRun
    counts: Counts

    @property
    def url(self) -> str:
        return reverse("harvest-run", args=[self.run.id])

    @property
    def kind(self) -> str:
        if self.run.dry_run:
            return "Preview"
        return "Skipped entries" if self.run.remembered else self.run.get_kind_display()

    @property
    def headline(self) -> str:
        """The first line; a run that failed at once has none but its error."""
        if self.run.state == RunState.FAILED and not self.counts.done:
            return "Nothing was read"
        if self.run.kind != RunKind.IMPORT and not self.total and (gone := self.counts.of(Outcome.DELETED)):
            return f"{gone:,} {'entry is' if gone == 1 else 'entries are'} gone from Harvest"
        return headline(self.run, self.counts)

    @property
    def tone(self) -> str:
        return TONES.get(self.run.state, "")

    @property
    def total(self) -> int:
        return shown_total(self.run, self.counts)

    @property
    def poll(self) -> str:
        """When to look again."""
        age = (timezone.now() - self.run.created_at).total_seconds()
        return QUICK if age < YOUNG else CALM

    @property
    def imported(self) -> int:
        return self.counts.of(Outcome.IMPORTED)

    @property
    def proposed(self) -> int:
        return self.counts.of(Outcome.PROPOSED)

    @property
    def pushed(self) -> int:
        return self.counts.of(Outcome.PUSHED)

    @property
    def undoable(self) -> bool:
        return (
            not self.run.live
            and not self.run.dry_run
            and not self.run.undone_at
            and bool(self.imported or self.proposed)
        )

    @property
    def appliable(self) -> bool:
        return (
            self.run.dry_run
            and self.run.state in (RunState.SUCCEEDED, RunState.PARTIAL)
            and any(self.counts.of(outcome) for outcome in APPLIED)
        )

    @property
    def question(self) -> Question | None:
        """What a guard that stopped this run asks, until somebody has answered."""
        question = None if self.run.live else asked(self.run)
        if question is None:
            return None
        kind = question["kind"]
        remedy = {
            "other_account": Link("Connect again", f"{reverse('harvest')}#connection"),
            "incomplete_listing": Link("Sync again", f"{reverse('harvest')}#sync"),
        }.get(kind)
        if self.run.dry_run:
            words = f"{QUESTIONS.get(kind, GUARDS[kind])} Importing these days asks again."
            return Question(words, question["count"], False, remedy)
        return Question(QUESTIONS.get(kind, GUARDS[kind]), question["count"], kind in QUESTIONS, remedy)

    @property
    def others(self) -> list[Group]:
        """What else came of entries: updated, linked, deleted."""
        return [
            self._group(outcome)
            for outcome in (Outcome.UPDATED, Outcome.LINKED, Outcome.DELETED)
            if self.counts.of(outcome)
        ]

    @property
    def skipped(self) -> list[Group]:
        return [
            Group(
                label=one["label"],
                count=one["count"],
                url=f"{self.url}?{urlencode({'reason': one['reason']})}",
                key=one["reason"],
                advice=ADVICE.get(one["reason"], ""),
                remedy=_remedy(one["reason"]),
            )
            for one in self.counts.skipped
        ]

    @property
    def filters(self) -> list[Group]:
        """Every outcome and reason of the run, for its page."""
        found = [
            self._group(outcome)
            for outcome in Outcome
            if self.counts.of(outcome) and outcome not in (Outcome.SKIPPED, Outcome.FAILED, Outcome.PUSHED)
        ]
        return [*found, *self.skipped]

    def _group(self, outcome: Outcome) -> Group:
        label = outcome.label
        if self.run.dry_run:
            label = {
                Outcome.IMPORTED: "Would be imported",
                Outcome.PROPOSED: "Would go to Inbound",
                Outcome.UPDATED: "Would be updated",
                Outcome.LINKED: "Would be linked",
                Outcome.DELETED: "Would be deleted",
            }.get(outcome, label)
        url = f"{self.url}?{urlencode({'outcome': outcome.value})}"
        return Group(label, self.counts.of(outcome), url, outcome.value, MEANS.get(outcome, ""))

    @property
    def words(self) -> str:
        """The result in one line, for a list of runs."""
        if self.run.live:
            return "Waiting to start" if self.run.state == RunState.QUEUED else "Running"
        if self.run.state == RunState.FAILED and not self.counts.done:
            return self.run.error
        pushed = [f"{self.pushed:,} pushed"] if self.pushed else []
        if self.run.kind != RunKind.IMPORT and not self.total:
            return " · ".join([self.headline, *pushed])
        parts = [f"{self.imported:,} {'would come in' if self.run.dry_run else 'imported'}"]
        if self.proposed:
            parts.append(f"{self.proposed:,} to Inbound")
        parts += [f"{one.count:,} {one.label.lower()}" for one in self.others]
        parts += pushed
        if skipped := sum(one.count for one in self.skipped):
            parts.append(f"{skipped:,} skipped")
        if self.run.undone_at:
            parts.append("taken back by undo")
        return f"{' · '.join(parts)}, of {self.total:,}"


def results_of(runs: Iterable[SyncRun]) -> list[Result]:
    """Runs with their counts, in one query more."""
    found = list(runs)
    counts = counts_of(found)
    return [Result(run, counts[run.id]) for run in found]


# --- Remedies --------------------------------------------------------------------------------------------------------
def mappings_link(tab: str, words: str = "", **query: str) -> str:
    """The address of a mapping table; words: in its filter box."""
    query |= {"filter": words} if words else {}
    return f"{reverse('harvest')}?{urlencode({'tab': tab, **query})}#mappings"


def _remedy(reason: str) -> Link | None:
    """What a person can do about a whole group."""
    if reason == Reason.PROJECT_NOT_MAPPED:
        return Link("Map projects", mappings_link("projects", unmapped="first"))
    if reason == Reason.TASK_NOT_MAPPED:
        return Link("Map tasks", mappings_link("tasks", unmapped="first"))
    if reason == Reason.NO_FALLBACK_OWNER:
        return Link("Map people", mappings_link("people", unmapped="first"))
    if reason == Reason.DISMISSED:
        return Link("Dismissed in Inbound", f"{reverse('inbound')}?status=dismissed")
    return None


def remedy_of(entry: RunEntry) -> Link | None:
    """What a person can do about one entry."""
    if entry.reason == Reason.PROJECT_NOT_MAPPED and (name := entry.remote.get("project")):
        return Link("Map this project", mappings_link("projects", name))
    if entry.reason == Reason.TASK_NOT_MAPPED and (name := entry.remote.get("task")):
        return Link("Map this task", mappings_link("tasks", name))
    if entry.reason == Reason.NO_FALLBACK_OWNER and (name := entry.remote.get("user")):
        return Link("Map this person", mappings_link("people", name))
    return None
