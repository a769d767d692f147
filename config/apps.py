from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register

from config.egress import hold_to
from config.env import PRODUCTION
from config.supply import check_packages


class ConfigConfig(AppConfig):
    """Composes the house: home page, base templates, commands that span apps."""

    name = "config"

    def ready(self) -> None:
        register(check_packages, "packages", deploy=True)
        if PRODUCTION:
            hold_to(settings.EGRESS_HOSTS)
