"""Addresses of Inbound."""

from django.urls import path

from inbound import views

urlpatterns = [
    path("inbound/", views.inbound, name="inbound"),
]
