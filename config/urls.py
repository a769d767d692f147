"""Every address, by floor."""

from django.urls import include, path

from config import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("accounts/", include("allauth.account.urls")),
    path("api/", include("config.api_urls")),
]
