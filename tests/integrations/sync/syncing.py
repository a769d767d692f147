"""The least that carries plans out between two sides, in memory: what a test of the plan needs, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field

from integrations.sync.memory import MemorySide
from integrations.sync.plan import (
    Action,
    CreateLocal,
    CreateRemote,
    DeleteLocal,
    DeleteRemote,
    Direction,
    Overruled,
    Policy,
    Replace,
    UpdateLocal,
    UpdateRemote,
    attempted,
    plan,
    settle,
)
from integrations.sync.types import Base, Entry, Field, Refused, Stale, Values
from tests.integrations.sync.world import FIRST, LAST, local_version, remote_version


@dataclass
class Link:
    """base: None while nothing was agreed on. sent: a create under way, from these local values, of these fields.

    replacing: the create under way is the second half of a Replace, of this entry; only what it changed is agreed on.
    """

    local_id: str | None
    remote_id: str | None
    base: Base | None = None
    sent: tuple[Values, Values] | None = None
    replacing: tuple[Entry, Replace] | None = None


@dataclass
class Syncing:
    local: MemorySide
    remote: MemorySide
    direction: Direction = Direction.TWO_WAY
    policy: Policy = Policy.HARVEST
    links: list[Link] = field(default_factory=list)
    history: list[Overruled] = field(default_factory=list)

    def sync(self) -> list[Action]:
        """Plan and carry out once for every entry. Raises Unavailable half-way; what was done until then is kept."""
        self._link_what_has_none()
        done: list[Action] = []
        for link in self.links:
            done += self._sync_link(link)
        self.links = [link for link in self.links if link.local_id or link.remote_id]
        return done

    def _link_what_has_none(self) -> None:
        known_here = {link.local_id for link in self.links}
        for entry in self.local.list_all(FIRST, LAST):
            if entry.id not in known_here:
                self.links.append(Link(entry.id, None))
        underway = {link.local_id for link in self.links if link.sent}
        known_there = {link.remote_id for link in self.links}
        known_there |= {link.replacing[0].id for link in self.links if link.replacing}
        for entry in self.remote.list_all(FIRST, LAST):
            if entry.id not in known_there and not (entry.reference and entry.reference in underway):
                self.links.append(Link(None, entry.id))

    def _sync_link(self, link: Link) -> list[Action]:
        if link.sent:
            self._go_on_creating(link)
        local = self.local.get(link.local_id) if link.local_id else None
        remote = self.remote.get(link.remote_id) if link.remote_id else None
        actions = plan(
            link.base,
            local and local_version(local),
            remote and remote_version(remote),
            direction=self.direction,
            policy=self.policy,
        )
        if local is None and remote is None:
            link.local_id = link.remote_id = None
        for action in actions:
            self._carry_out(link, action, local, remote)
        return actions

    def _carry_out(self, link: Link, action: Action, local: Entry | None, remote: Entry | None) -> None:
        confirmed: Entry | None = None
        match action:
            case UpdateLocal(fields) if local:
                confirmed = self.local.update(local.id, fields, seen=local.values)
            case UpdateRemote(fields) if remote:
                confirmed = self.remote.update(remote.id, fields, seen=remote.values)
            case CreateLocal(fields) if remote:
                kept = {name: pair.local for name, pair in (link.base or {}).items()}
                confirmed = self.local.create({**kept, **fields}, reference=remote.id)
                link.local_id = confirmed.id
            case CreateRemote(fields) if local:
                link.sent, link.remote_id = (local.values, fields), None
                self._go_on_creating(link)
                return
            case Replace(values=values) if local and remote:
                link.sent, link.replacing = (local.values, values), (remote, action)
                self._go_on_creating(link)
                return
            case DeleteLocal() if local:
                self.local.delete(local.id, seen=local.values)
                link.local_id = link.remote_id = None
            case DeleteRemote() if remote:
                self.remote.delete(remote.id, seen=remote.values)
                link.local_id = link.remote_id = None
            case Overruled():
                self.history.append(action)
        link.base = settle(
            link.base,
            action,
            local=local and local.values,
            remote=remote and remote.values,
            confirmed=confirmed and confirmed.values,
        )

    def _go_on_creating(self, link: Link) -> None:
        """Create the entry that was noted, or find what an earlier attempt made; what it replaces goes first."""
        assert link.sent
        assert link.local_id
        local_values, fields = link.sent
        if link.replacing:
            old = link.replacing[0]
            try:
                self.remote.delete(old.id, seen=old.values)
            except (Stale, Refused):  # edited or locked since: as if nothing had been begun
                link.sent = link.replacing = None
                return
        entry = self.remote.find(link.local_id) or self.remote.create(fields, reference=link.local_id)
        base = attempted(local_values, fields)
        if link.replacing:
            changed = link.replacing[1].fields
            unchanged = {name: pair for name, pair in (link.base or {}).items() if name is not Field.BILLABLE}
            base = {**unchanged, **{name: base[name] for name in changed}}
        link.remote_id, link.base, link.sent, link.replacing = entry.id, base, None, None
