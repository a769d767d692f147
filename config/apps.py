from django.apps import AppConfig
from django.conf import settings

from config.egress import hold_to
from config.env import PRODUCTION


class ConfigConfig(AppConfig):
    """Composes the house: home page, base templates, commands that span apps."""

    name = "config"

    def ready(self) -> None:
        if PRODUCTION:
            hold_to(settings.EGRESS_HOSTS)
