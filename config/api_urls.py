"""Every address of the REST API: version 1, the OpenAPI document, its pages; anything else is a problem (404)."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from rest_framework.routers import SimpleRouter

from accounts.api import ApiKeyViewSet, MemberViewSet, MeView, WorkspaceSettingsView
from accounts.api_audit import AuditViewSet
from accounts.api_data import DeletionView, ExportViewSet
from accounts.api_notices import NoticeViewSet
from accounts.rest.docs import DocsView, SchemaView
from accounts.rest.views import unknown_path
from clients.api import ClientViewSet, ContactViewSet, ProjectViewSet
from inbound.api import AdjustmentViewSet, ProposalViewSet
from integrations.api import IntegrationsView
from settlement.api_budgets import BudgetViewSet
from settlement.api_links import ClientLinkViewSet
from settlement.api_statements import StatementViewSet
from timelogs.api import ActivityTypeViewSet, TimeLogViewSet, WorkItemViewSet

router = SimpleRouter()
router.register("time-logs", TimeLogViewSet, "time-log")  # first, as what is asked for most
router.register("members", MemberViewSet, "member")
router.register("api-keys", ApiKeyViewSet, "api-key")
router.register("clients", ClientViewSet, "client")
router.register("contacts", ContactViewSet, "contact")
router.register("projects", ProjectViewSet, "project")
router.register("activity-types", ActivityTypeViewSet, "activity-type")
router.register("work-items", WorkItemViewSet, "work-item")
router.register("notices", NoticeViewSet, "notice")
router.register("audit", AuditViewSet, "audit")
router.register("exports", ExportViewSet, "export")
router.register("inbound/proposals", ProposalViewSet, "proposal")
router.register("inbound/adjustments", AdjustmentViewSet, "adjustment")
router.register("client-links", ClientLinkViewSet, "client-link")
router.register("budgets", BudgetViewSet, "budget")
router.register("settlement/statements", StatementViewSet, "statement")

version_1: list[URLPattern | URLResolver] = [
    path("me/", MeView.as_view(), name="me"),
    path("workspace/", WorkspaceSettingsView.as_view(), name="workspace"),
    path("workspace/deletion/", DeletionView.as_view(), name="workspace-deletion"),
    path("integrations/", IntegrationsView.as_view(), name="integrations"),
    path("integrations/harvest/", include("harvest.api.urls")),
    *router.urls,
]

urlpatterns = [
    path("v1/", include((version_1, "api"))),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(), name="docs"),
    re_path(r"^(?P<path>.*)$", unknown_path),
]
