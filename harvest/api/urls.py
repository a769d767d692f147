"""The addresses under integrations/harvest/."""

from django.urls import URLPattern, URLResolver, path

from harvest.api import mappings
from harvest.api.authorize import AuthorizeView
from harvest.api.conflicts import ConflictViewSet
from harvest.api.connection import ConnectionView, PushOlderView
from harvest.api.held import AssignView, HeldViewSet
from harvest.api.runs import ImportsView, RunEntryViewSet, RunViewSet, SyncView

urlpatterns: list[URLPattern | URLResolver] = [
    path("connection/", ConnectionView.as_view(), name="harvest-connection"),
    path("connection/push-older/", PushOlderView.as_view(), name="harvest-push-older"),
    path("authorize/", AuthorizeView.as_view(), name="harvest-authorize"),
    *mappings.urlpatterns,
    path("imports/", ImportsView.as_view(), name="harvest-imports"),
    path("sync/", SyncView.as_view(), name="harvest-sync"),
    path("held/", HeldViewSet.as_view({"get": "list"}), name="harvest-held-list"),
    path("held/retry/", HeldViewSet.as_view({"post": "retry_all"}), name="harvest-held-retry-all"),
    path("held/<str:id>/retry/", HeldViewSet.as_view({"post": "retry"}), name="harvest-held-retry"),
    path("held/<str:id>/assign/", AssignView.as_view({"post": "assign"}), name="harvest-held-assign"),
    path("conflicts/", ConflictViewSet.as_view({"get": "list"}), name="harvest-conflict-list"),
    path(
        "conflicts/<str:id>/resolve/",
        ConflictViewSet.as_view({"post": "resolve"}),
        name="harvest-conflict-resolve",
    ),
    path("runs/", RunViewSet.as_view({"get": "list"}), name="harvest-run-list"),
    path("runs/<str:id>/", RunViewSet.as_view({"get": "retrieve"}), name="harvest-run-detail"),
    path("runs/<str:id>/entries/", RunEntryViewSet.as_view({"get": "list"}), name="harvest-run-entries"),
    path(
        "runs/<str:id>/entries/<str:entry>/unlink/",
        RunEntryViewSet.as_view({"post": "unlink"}),
        name="harvest-run-entry-unlink",
    ),
    path("runs/<str:id>/confirm/", RunViewSet.as_view({"post": "confirm"}), name="harvest-run-confirm"),
    path("runs/<str:id>/leave/", RunViewSet.as_view({"post": "leave"}), name="harvest-run-leave"),
    path("runs/<str:id>/amounts/", RunViewSet.as_view({"get": "amounts"}), name="harvest-run-amounts"),
    path("runs/<str:id>/undo/", RunViewSet.as_view({"post": "undo"}), name="harvest-run-undo"),
    path("runs/<str:id>/apply/", RunViewSet.as_view({"post": "apply"}), name="harvest-run-apply"),
]
