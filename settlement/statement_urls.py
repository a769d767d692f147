"""Addresses of statements."""

from django.urls import path

from settlement import statement_views as views

urlpatterns = [
    path("settlement/", views.statements, name="statements"),
    path("settlement/new/", views.new_statement, name="statement-new"),
    path("settlement/<uuid:id>/", views.statement, name="statement"),
    path("settlement/<uuid:id>/period/", views.edit_statement, name="statement-edit"),
    path("settlement/<uuid:id>/issue/", views.issue_statement, name="statement-issue"),
    path("settlement/<uuid:id>/void/", views.void_statement, name="statement-void"),
    path("settlement/<uuid:id>/delete/", views.delete_statement, name="statement-delete"),
    path("settlement/<uuid:id>/export/", views.export_statement, name="statement-export"),
]
