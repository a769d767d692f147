from django.apps import AppConfig


class HarvestConfig(AppConfig):
    """The Harvest provider."""

    name = "harvest"

    def ready(self) -> None:
        from harvest import waiting  # noqa: F401  (hears of voided statements)
        from harvest.tasks import push_changes
        from integrations.outgoing import Outlet, register

        register(
            "harvest",
            Outlet(
                mapped="EXISTS (SELECT 1 FROM harvest_clientmapping m WHERE m.workspace_id = log.workspace_id"
                " AND m.target_id = log.client_id)"
                " OR EXISTS (SELECT 1 FROM harvest_projectmapping m WHERE m.workspace_id = log.workspace_id"
                " AND m.target_id = log.project_id)",
                wake=lambda workspace_id: push_changes.delay(str(workspace_id)),
            ),
        )
