"""Addresses of Inbound."""

from django.urls import path

from inbound import views

urlpatterns = [
    path("inbound/", views.inbound, name="inbound"),
    path("inbound/decide/", views.decide, name="inbound-decide"),
    path("inbound/<uuid:id>/accept/", views.accept, name="inbound-accept"),
    path("inbound/<uuid:id>/dismiss/", views.dismiss, name="inbound-dismiss"),
    path("inbound/<uuid:id>/restore/", views.restore, name="inbound-restore"),
    path("inbound/<uuid:id>/undo/", views.undo, name="inbound-undo"),
    path("inbound/adjustments/", views.adjustments, name="inbound-adjustments"),
    path("inbound/adjustments/<uuid:id>/accept/", views.accept_adjustment, name="inbound-adjustment-accept"),
    path(
        "inbound/adjustments/<uuid:id>/dismiss/", views.dismiss_adjustment, name="inbound-adjustment-dismiss"
    ),
    path(
        "inbound/adjustments/<uuid:id>/restore/", views.restore_adjustment, name="inbound-adjustment-restore"
    ),
]
