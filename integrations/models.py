"""What any provider needs: the connection, runs and their entries, and links between logs and remote entries."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.tenancy import TenantChild, TenantForeignKey, TenantModel, TenantOneToOneField
from inbound.models import TimeProposal
from integrations.fields import EncryptedTextField
from timelogs.models import TimeLog


class ConnectionStatus(models.TextChoices):
    CONNECTED = "connected", "Connected"
    RECONNECT_NEEDED = "reconnect_needed", "Reconnect needed"
    NOT_CONNECTED = "not_connected", "Not connected"


class AuthKind(models.TextChoices):
    TOKEN = "token", "Personal access token"
    OAUTH = "oauth", "OAuth"


class Direction(models.TextChoices):
    IMPORT = "import", "Harvest → Timebridge"
    TWO_WAY = "two_way", "Both ways"


class ConflictPolicy(models.TextChoices):
    HARVEST = "harvest", "Harvest wins"
    TIMEBRIDGE = "timebridge", "Timebridge wins"
    NEWEST = "newest", "Newest wins"
    ASK = "ask", "Ask"


class Connection(TenantModel):
    """A workspace's connection to a provider: one row, kept (without tokens) after disconnecting.

    remote_user_* describe the person whose token it is and remote_role their role in Harvest (administrator, manager,
    member); `sees_all` is whether that token reads everybody's time.
    An OAuth token is renewed from `token_renew_at` on, well before `token_expires_at`: by one worker, who says in
    `renewing_until` how long the others wait for it, and after a failure not before `renew_not_before`.
    watermark_at: the connection's data is complete up to then. night_on: the last night (a date in UTC) for which an
    automated sync was started, or that there was no need for. changes_due_at: when a connection that goes both ways is
    read for changes next.
    wants_times: the account tracks start and end times, written in `clock` ("12h" or "24h"); None until it was asked.
    web_address: of the account's pages, for people ("https://northlight.harvestapp.com"); '' until it was asked.
    swept_user_id, swept_all: whose token, and whether it saw everybody's time, when deletions were last looked for: a
    token that sees less than that one did may not conclude that something is gone.
    """

    provider = models.CharField(max_length=20, default="harvest")
    status = models.CharField(
        max_length=20, choices=ConnectionStatus.choices, default=ConnectionStatus.NOT_CONNECTED
    )
    status_detail = models.TextField(blank=True)
    auth = models.CharField(max_length=10, choices=AuthKind.choices, blank=True)
    account_id = models.CharField(max_length=40, blank=True)
    account_name = models.CharField(max_length=200, blank=True)
    access_token = EncryptedTextField(blank=True)
    refresh_token = EncryptedTextField(blank=True)
    token_expires_at = models.DateTimeField(null=True)
    token_renew_at = models.DateTimeField(null=True)
    renewing_until = models.DateTimeField(null=True)
    renew_not_before = models.DateTimeField(null=True)
    remote_user_id = models.CharField(max_length=40, blank=True)
    remote_user_name = models.CharField(max_length=200, blank=True)
    remote_user_email = models.CharField(max_length=254, blank=True)
    remote_role = models.CharField(max_length=20, blank=True)
    sees_all = models.BooleanField(default=True)
    connected_at = models.DateTimeField(null=True)
    connected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    direction = models.CharField(max_length=10, choices=Direction.choices, default=Direction.IMPORT)
    conflict_policy = models.CharField(
        max_length=10, choices=ConflictPolicy.choices, default=ConflictPolicy.HARVEST
    )
    auto_sync = models.BooleanField(default=False)
    default_task = models.CharField(max_length=40, blank=True)
    catalogue_read_at = models.DateTimeField(null=True)
    watermark_at = models.DateTimeField(null=True)
    night_on = models.DateField(null=True)
    changes_due_at = models.DateTimeField(null=True)
    wants_times = models.BooleanField(null=True)
    clock = models.CharField(max_length=3, blank=True)
    web_address = models.CharField(max_length=200, blank=True)
    swept_user_id = models.CharField(max_length=40, blank=True)
    swept_all = models.BooleanField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "provider"], name="integrations_connection_once"),
            models.CheckConstraint(
                condition=~models.Q(status=ConnectionStatus.NOT_CONNECTED)
                | models.Q(access_token="", refresh_token=""),
                name="integrations_connection_forgets",
            ),
        ]
        # What the sweeps look for over all workspaces: nights not yet done, oldest success first; tokens to renew.
        indexes = [
            models.Index(
                fields=["watermark_at", "id"],
                condition=models.Q(status=ConnectionStatus.CONNECTED, auto_sync=True),
                name="integrations_connection_nights",
            ),
            models.Index(
                fields=["token_renew_at"],
                condition=models.Q(status=ConnectionStatus.CONNECTED, token_renew_at__isnull=False),
                name="integrations_connection_renew",
            ),
            models.Index(
                fields=["changes_due_at"],
                condition=models.Q(
                    status=ConnectionStatus.CONNECTED, auto_sync=True, direction=Direction.TWO_WAY
                ),
                name="integrations_changes_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.account_id} ({self.status})"

    @property
    def connected(self) -> bool:
        return self.status == ConnectionStatus.CONNECTED


class RunKind(models.TextChoices):
    IMPORT = "import", "Import"
    SYNC = "sync", "Sync"
    AUTO = "auto", "Automated sync"
    CHANGES = "changes", "Changes in between"


class RunState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    PARTIAL = "partial", "Partly done"
    FAILED = "failed", "Failed"


LIVE_STATES = (RunState.QUEUED, RunState.RUNNING)


class SyncRun(TenantModel):
    """One reading of a provider: the ledger. Its counts are counted from its entries, never kept beside them.

    A live run (queued or running) is unique for a connection. A worker holds it by a lease: `lease_token` is that
    worker's claim, good until `lease_until`, prolonged as pages are done; an expired lease may be claimed by another.
    attention: what a guard asks before it lets anything be deleted, {"kind", "count"}; once a person has answered,
    "answered" names the run that goes on ("left": none does), and there the kind that was answered.
    expected: entries that the provider said the window holds, once the first page is in. preview: the run whose plan
    this one applies. remembered: it brings in what was skipped for a missing mapping and can come in now, nothing else.
    """

    connection = TenantForeignKey(Connection, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=10, choices=RunKind.choices)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.QUEUED)
    dry_run = models.BooleanField(default=False)
    account_id = models.CharField(max_length=40)
    from_date = models.DateField(null=True)
    to_date = models.DateField(null=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    preview = TenantForeignKey("self", on_delete=models.PROTECT, null=True, related_name="+")
    remembered = models.BooleanField(default=False)
    undone_at = models.DateTimeField(null=True)
    expected = models.PositiveIntegerField(null=True)
    pages_failed = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    attention = models.JSONField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "connection"],
                condition=models.Q(state__in=LIVE_STATES),
                name="integrations_run_one_live",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=RunState.values), name="integrations_run_state"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=LIVE_STATES, finished_at__isnull=True)
                | (~models.Q(state__in=LIVE_STATES) & models.Q(finished_at__isnull=False)),
                name="integrations_run_finished",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "connection", "-id"], name="integrations_run_newest"),
            models.Index(
                fields=["lease_until"], condition=models.Q(state__in=LIVE_STATES), name="integrations_run_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.from_date} → {self.to_date} ({self.state})"

    @property
    def live(self) -> bool:
        return self.state in LIVE_STATES


class Outcome(models.TextChoices):
    IMPORTED = "imported", "Imported"
    UPDATED = "updated", "Updated"
    LINKED = "linked", "Linked"
    DELETED = "deleted", "Deleted"
    PUSHED = "pushed", "Pushed"
    PROPOSED = "proposed", "Sent to Inbound"
    SKIPPED = "skipped", "Skipped"
    UNCHANGED = "unchanged", "Unchanged"
    FAILED = "failed", "Failed"


class Reason(models.TextChoices):
    """Why an entry was skipped; the labels are what people read (spec 7), in this order."""

    PROJECT_NOT_MAPPED = "project_not_mapped", "Project not mapped"
    TASK_NOT_MAPPED = "task_not_mapped", "Task not mapped"
    ALREADY_IMPORTED = "already_imported", "Already imported"
    TIMER_RUNNING = "timer_running", "Timer still running"
    NO_FALLBACK_OWNER = "no_fallback_owner", "No fallback owner on the connection"
    DISMISSED = "dismissed", "Dismissed in Inbound"
    SETTLED = "settled", "Settled"
    MOVED_SINCE_PREVIEW = "moved_since_preview", "Moved since the preview"
    SAVE_FAILED = "save_failed", "Save failed"
    HARVEST_ERROR = "harvest_error", "Harvest API error"


class SyncLink(TenantChild):
    """The identity of a remote entry in this workspace, and what it became here: a time log, or a proposal.

    It outlives runs, connections and deletions. That (provider, account, entry id) is unique in a workspace is what
    makes duplicates impossible. `remote_hash` is of the entry's content when it was last taken over; `base` is what
    both sides held when they last agreed, as `sync.types.dump_base` writes it: of a proposal, what Harvest held then.
    former_log: the log that this entry was, once it is gone from Harvest and that log is another entry, or none. Then
    it is no log's link any more, and its id stays known: should it turn up again, it is no new entry.
    """

    provider = models.CharField(max_length=20, default="harvest")
    account_id = models.CharField(max_length=40)
    external_id = models.CharField(max_length=40)
    time_log = TenantOneToOneField(TimeLog, on_delete=models.PROTECT, null=True, related_name="sync_link")
    proposal = TenantOneToOneField(
        TimeProposal, on_delete=models.PROTECT, null=True, related_name="sync_link"
    )
    remote_hash = models.CharField(max_length=32, blank=True)
    remote_user_id = models.CharField(max_length=40, blank=True)
    base = models.JSONField(null=True)
    former_log = TenantForeignKey(
        TimeLog, on_delete=models.PROTECT, null=True, related_name="former_links", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "provider", "account_id", "external_id"],
                name="integrations_link_identity",
            ),
            models.CheckConstraint(
                condition=models.Q(time_log__isnull=False)
                | models.Q(proposal__isnull=False)
                | models.Q(former_log__isnull=False),
                name="integrations_link_to_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.account_id}/{self.external_id}"


class ChangeState(models.TextChoices):
    PENDING = "pending", "Waiting"
    SENDING = "sending", "On its way"
    DONE = "done", "Done"
    HELD = "held", "Held"
    CONFLICT = "conflict", "Conflict"
    CANCELLED = "cancelled", "Cancelled"


OPEN_CHANGES = (ChangeState.PENDING, ChangeState.HELD, ChangeState.CONFLICT)


class Way(models.TextChoices):
    OUT = "out", "To Harvest"
    IN = "in", "From Harvest"


class Keep(models.TextChoices):
    HARVEST = "harvest", "Keep Harvest's"
    TIMEBRIDGE = "timebridge", "Keep ours"


class OutboundChange(TenantChild):
    """A time log that has to be brought into step with Harvest: the queue, and what waits for a person.

    It does not say what changed: whoever takes it up compares base, log and entry as they stand then, so a change made
    meanwhile is never lost and none goes out twice. A log has at most one open change (pending, held or in conflict):
    saving it again makes that one pending anew. While one is being sent, a further save makes a new row, which waits
    until the former is through.

    pending -> sending (held by a lease, as runs are) -> done, held or conflict; pending again, later, where Harvest
    cannot be reached. Cancelled: no longer wanted.
    held: `way` says whether it is our change or Harvest's that cannot travel, `reason` (a slug) and `detail` (a
    sentence that names the remedy) why, `remedy` what a click could do ({"kind": "assign", ...}).
    conflict: `fields` has {field: {"timebridge": ..., "harvest": ...}}; `keep`: whose version a person chose.
    begun: what has been begun and not yet recorded, so that who goes on after a crash looks before repeating it: the
    attempt of a creation, the halves of a replacement, or a deletion. run: the run that found that this is to go out.
    backlog: one of the older logs that are pushed on one click; it gives way to what is saved now.
    refused_hash: of what the remote entry held when Harvest refused to have it changed. While it holds that still, no
    sync tries again; a person does, by saving the log, a mapping, or *Retry*.
    """

    connection = TenantForeignKey(
        Connection, on_delete=models.CASCADE, related_name="outbound_changes", db_index=False
    )
    time_log = TenantForeignKey(
        TimeLog, on_delete=models.PROTECT, related_name="outbound_changes", db_index=False
    )
    state = models.CharField(max_length=10, choices=ChangeState.choices, default=ChangeState.PENDING)
    way = models.CharField(max_length=3, choices=Way.choices, default=Way.OUT)
    backlog = models.BooleanField(default=False)
    not_before = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    remedy = models.JSONField(null=True)
    fields = models.JSONField(null=True)
    keep = models.CharField(max_length=10, choices=Keep.choices, blank=True)
    begun = models.JSONField(null=True)
    refused_hash = models.CharField(max_length=32, blank=True, db_default="")
    run = TenantForeignKey(SyncRun, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)  # by the database's clock
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "time_log"],
                condition=models.Q(state__in=OPEN_CHANGES),
                name="integrations_change_one_open",
            ),
            models.UniqueConstraint(
                fields=["workspace", "time_log"],
                condition=models.Q(state=ChangeState.SENDING),
                name="integrations_change_one_sending",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ChangeState.values), name="integrations_change_state"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state=ChangeState.SENDING, lease_token__isnull=False, lease_until__isnull=False
                )
                | (~models.Q(state=ChangeState.SENDING) & models.Q(lease_token__isnull=True)),
                name="integrations_change_leased",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "state", "-id"], name="integrations_change_newest"),
            models.Index(fields=["workspace", "time_log", "-id"], name="integrations_change_log"),
            models.Index(
                fields=["workspace", "run"],
                condition=models.Q(run__isnull=False),
                name="integrations_change_run",
            ),
            # What the sweep looks for over all workspaces.
            models.Index(
                fields=["not_before"],
                condition=models.Q(state=ChangeState.PENDING),
                name="integrations_change_due",
            ),
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state=ChangeState.SENDING),
                name="integrations_change_left",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.time_log_id} ({self.state})"


class Deed(models.TextChoices):
    """What a sync did to a log or its entry, after it had come in or gone out first."""

    PUSHED = "pushed", "Made in Harvest"
    SENT = "sent", "Changed in Harvest"
    REPLACED = "replaced", "Made anew in Harvest for another person"
    REMOVED = "removed", "Deleted in Harvest"
    SOUGHT = "sought", "Looked for in Harvest"
    TAKEN = "taken", "Changed here"
    RESTORED = "restored", "Made again here"
    DELETED = "deleted", "Deleted here"
    LINKED = "linked", "Linked"
    UNLINKED = "unlinked", "Unlinked"
    OVERRULED = "overruled", "Given up"
    HELD = "held", "Held"
    CONFLICT = "conflict", "Conflict"
    DIFFERS = "differs", "Differs"


class SyncEvent(TenantChild):
    """The history of one log's agreement with Harvest: written in the transaction that does the deed, never changed.

    fields: {field: {"before": ..., "after": ...}} for what was written, {field: {"timebridge": ..., "harvest": ...}}
    for what was given up (`detail` says whose stayed) or contested.
    """

    time_log = TenantForeignKey(TimeLog, on_delete=models.PROTECT, related_name="sync_events", db_index=False)
    external_id = models.CharField(max_length=40, blank=True)
    deed = models.CharField(max_length=10, choices=Deed.choices)
    fields = models.JSONField(default=dict)
    detail = models.TextField(blank=True)
    run = TenantForeignKey(SyncRun, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(deed__in=Deed.values), name="integrations_event_deed")
        ]
        indexes = [
            models.Index(fields=["workspace", "time_log", "-id"], name="integrations_event_log"),
            models.Index(
                fields=["workspace", "run"],
                condition=models.Q(run__isnull=False),
                name="integrations_event_run",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deed} {self.external_id}"


class RunEntry(TenantChild):
    """What became of one remote entry in one run. Unique in its run: a resumed run counts nothing twice.

    time_log, proposal: what it is here, if that was here before the run. What the run itself brought in is found by the
    entry's identity (`runs.name_what_came_in`): a reference on each of these rows costs an import a tenth of its time.
    """

    run = TenantForeignKey(SyncRun, on_delete=models.CASCADE, related_name="entries", db_index=False)
    external_id = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)
    detail = models.TextField(blank=True)
    time_log = TenantForeignKey(
        TimeLog, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    proposal = TenantForeignKey(
        TimeProposal, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    spent_date = models.DateField(null=True)
    hours = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    notes = models.TextField(blank=True)
    # What the entry carried in Harvest's words, so that a person can fix the cause and a later run can find it again.
    remote = models.JSONField(default=dict)
    # Of a preview: what would be made, in our words, and a hash by which applying it tells whether that still holds.
    plan = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "run", "external_id"], name="integrations_entry_once"
            ),
            # Its key: there is no other, as an import writes as many of these as logs. Also the ledger's order.
            models.UniqueConstraint(fields=["workspace", "run", "id"], name="integrations_entry_key"),
            models.CheckConstraint(
                condition=models.Q(outcome__in=Outcome.values), name="integrations_entry_outcome"
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "time_log"],
                condition=models.Q(time_log__isnull=False),
                name="integrations_entry_log",
            ),
            models.Index(
                fields=["workspace", "proposal"],
                condition=models.Q(proposal__isnull=False),
                name="integrations_entry_proposal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} {self.outcome}"
