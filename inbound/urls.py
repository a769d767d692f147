"""Addresses of Inbound."""

from django.urls import path

from inbound import views

urlpatterns = [
    path("inbound/", views.inbound, name="inbound"),
    path("inbound/decide/", views.decide, name="inbound-decide"),
    path("inbound/<uuid:id>/accept/", views.accept, name="inbound-accept"),
    path("inbound/<uuid:id>/dismiss/", views.dismiss, name="inbound-dismiss"),
    path("inbound/<uuid:id>/restore/", views.restore, name="inbound-restore"),
]
