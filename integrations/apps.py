from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """What any provider needs: connections, runs, links."""

    name = "integrations"

    def ready(self) -> None:
        from integrations import outgoing, receivers  # noqa: F401  (registers them)
