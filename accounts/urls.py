"""Addresses of people, API keys, the workspace, and the switches of the frame."""

from django.urls import path

from accounts import audit_views, data_views, notice_views, security_views, views

urlpatterns = [
    path("theme/", views.theme, name="theme"),
    path("switch-workspace/", views.switch_workspace, name="workspace-switch"),
    path("notices/", notice_views.notices, name="notices"),
    path("notices/read/", notice_views.read_all, name="notices-read"),
    path("notices/<uuid:id>/read/", notice_views.read_notice, name="notice-read"),
    path("settings/audit/", audit_views.trail, name="audit"),
    path("settings/audit/audit.csv", audit_views.export, {"form": "csv"}, name="audit-csv"),
    path("settings/audit/audit.json", audit_views.export, {"form": "json"}, name="audit-json"),
    path("settings/people/", views.people, name="people"),
    path("settings/people/add/", views.add_person, name="person-add"),
    path("settings/people/<uuid:id>/role/", views.change_role, name="person-role"),
    path("settings/people/<uuid:id>/remove/", views.remove_person, name="person-remove"),
    path("settings/api-keys/", views.api_keys, name="api-keys"),
    path("settings/api-keys/<uuid:id>/revoke/", views.revoke_key, name="api-key-revoke"),
    path("settings/data/", data_views.data, name="data"),
    path("settings/data/export/", data_views.export_workspace, name="data-export"),
    path("settings/data/export/own/", data_views.export_own, name="data-export-own"),
    path("settings/data/export/<uuid:id>/", data_views.export_file, name="data-export-file"),
    path("settings/data/delete-workspace/", data_views.delete_workspace, name="workspace-delete"),
    path("settings/data/keep-workspace/", data_views.keep_workspace, name="workspace-keep"),
    path("settings/data/delete-account/", data_views.delete_account, name="account-delete"),
    path("settings/workspace/", views.workspace_settings, name="workspace-settings"),
    path("settings/security/", security_views.security, name="security"),
    path("settings/security/second-factor/", security_views.second_factor, name="second-factor"),
    path("settings/security/sessions/end-others/", security_views.end_others, name="sessions-end"),
    path("settings/security/sessions/<int:id>/end/", security_views.end, name="session-end"),
]
