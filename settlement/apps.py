from django.apps import AppConfig


class SettlementConfig(AppConfig):
    name = "settlement"

    def ready(self) -> None:
        from settlement import receivers, statement_receivers  # noqa: F401 - connects them
