"""Addresses of the Integrations page; each provider's own are in its app."""

from django.urls import path

from integrations import views

urlpatterns = [path("", views.integrations, name="integrations")]
