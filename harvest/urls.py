"""Addresses of the Harvest settings page, under /integrations/harvest/."""

from django.urls import path

from harvest import oauth_views, views

urlpatterns = [
    path("", views.harvest, name="harvest"),
    path("connect/", views.connect, name="harvest-connect"),
    path("authorize/", oauth_views.authorize, name="harvest-authorize"),
    path("callback/", oauth_views.callback, name="harvest-callback"),
    path("choose/<uuid:id>/", oauth_views.choose_account, name="harvest-choose"),
    path("auto-sync/", views.auto_sync, name="harvest-auto-sync"),
    path("disconnect/", views.disconnect, name="harvest-disconnect"),
    path("mappings/", views.mappings, name="harvest-mappings"),
    path("refresh/", views.refresh, name="harvest-refresh"),
    path("runs/", views.start, name="harvest-start"),
    path("runs/<uuid:id>/", views.run, name="harvest-run"),
    path("runs/<uuid:id>/panel/", views.run_panel, name="harvest-run-panel"),
    path("runs/<uuid:id>/apply/", views.apply, name="harvest-apply"),
    path("runs/<uuid:id>/undo/", views.undo, name="harvest-undo"),
]
