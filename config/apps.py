from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Composes the house: home page, base templates, commands that span apps."""

    name = "config"
