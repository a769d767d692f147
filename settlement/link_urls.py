"""Addresses of client links."""

from django.urls import path

from settlement import link_views

urlpatterns = [
    path("clients/<uuid:client_id>/links/", link_views.client_links, name="client-links"),
    path("clients/<uuid:client_id>/links/<uuid:id>/revoke/", link_views.revoke, name="client-link-revoke"),
    path("shared/", link_views.shared, name="shared"),
    path("shared/<uuid:id>/", link_views.shared_client, name="shared-client"),
]
