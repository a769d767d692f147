"""Addresses of clients, their projects and contacts."""

from django.urls import path

from clients import views

urlpatterns = [
    path("clients/", views.clients, name="clients"),
    path("clients/new/", views.new_client, name="client-new"),
    path("clients/<uuid:id>/", views.client, name="client"),
    path("clients/<uuid:id>/edit/", views.edit_client, name="client-edit"),
    path("clients/<uuid:id>/archive/", views.archive_client, name="client-archive"),
    path("clients/<uuid:id>/delete/", views.delete_client, name="client-delete"),
    path("clients/<uuid:client_id>/projects/new/", views.new_project, name="project-new"),
    path("clients/<uuid:client_id>/projects/<uuid:id>/", views.edit_project, name="project-edit"),
    path(
        "clients/<uuid:client_id>/projects/<uuid:id>/archive/", views.archive_project, name="project-archive"
    ),
    path("clients/<uuid:client_id>/projects/<uuid:id>/delete/", views.delete_project, name="project-delete"),
    path("clients/<uuid:client_id>/contacts/new/", views.new_contact, name="contact-new"),
    path("clients/<uuid:client_id>/contacts/<uuid:id>/", views.edit_contact, name="contact-edit"),
    path("clients/<uuid:client_id>/contacts/<uuid:id>/delete/", views.delete_contact, name="contact-delete"),
]
