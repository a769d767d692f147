"""Every address, by floor."""

from django.urls import include, path
from django.views.generic import RedirectView

from config import health, mail, views

security_list = RedirectView.as_view(pattern_name="security")

urlpatterns = [
    path("api/", include("config.api_urls")),  # first: each address before is one more to compare with
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("", views.home, name="home"),
    path("mail/", mail.mail_list, name="mail-list"),
    path("mail/<uuid:id>/", mail.mail, name="mail"),
    path("", include("accounts.urls")),
    path("", include("clients.urls")),
    path("", include("timelogs.urls")),
    path("", include("inbound.urls")),
    path("", include("settlement.budget_urls")),
    path("", include("settlement.link_urls")),
    path("", include("settlement.statement_urls")),
    path("integrations/", include("integrations.urls")),
    path("integrations/harvest/", include("harvest.urls")),
    path("accounts/", include("accounts.sign_in_urls")),
    # The second factors are listed on one page of ours, among all that belongs to signing in.
    path("accounts/2fa/", security_list),
    path("accounts/2fa/webauthn/", security_list),
    path("accounts/2fa/", include("allauth.mfa.urls")),
]
