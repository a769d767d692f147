from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Workspaces, people, roles, keys, sessions, the trail."""

    name = "accounts"

    def ready(self) -> None:
        from allauth.mfa.signals import authenticator_added

        from accounts import security_log, sessions  # noqa: F401 - the latter's receivers
        from accounts.recovery_codes import use_hashed_codes
        from accounts.second_factor import remember_set_up

        authenticator_added.connect(remember_set_up)
        use_hashed_codes()
        security_log.connect()
