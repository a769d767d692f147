"""Addresses of the Harvest settings page, under /integrations/harvest/."""

from django.urls import path

from harvest import oauth_views, sync_views, views

urlpatterns = [
    path("", views.harvest, name="harvest"),
    path("connect/", views.connect, name="harvest-connect"),
    path("authorize/", oauth_views.authorize, name="harvest-authorize"),
    path("callback/", oauth_views.callback, name="harvest-callback"),
    path("choose/<uuid:id>/", oauth_views.choose_account, name="harvest-choose"),
    path("auto-sync/", views.auto_sync, name="harvest-auto-sync"),
    path("direction/", sync_views.direction, name="harvest-direction"),
    path("push-older/", sync_views.push_older_time, name="harvest-push-older"),
    path("waiting/", sync_views.waiting_now, name="harvest-waiting"),
    path("held/", sync_views.held, name="harvest-held"),
    path("held/retry/", sync_views.retry_all, name="harvest-held-retry-all"),
    path("held/<uuid:id>/retry/", sync_views.retry, name="harvest-held-retry"),
    path("held/<uuid:id>/assign/", sync_views.assign, name="harvest-held-assign"),
    path("conflicts/", sync_views.conflicts, name="harvest-conflicts"),
    path("conflicts/<uuid:id>/resolve/", sync_views.resolve, name="harvest-conflict-resolve"),
    path("disconnect/", views.disconnect, name="harvest-disconnect"),
    path("mappings/", views.mappings, name="harvest-mappings"),
    path("refresh/", views.refresh, name="harvest-refresh"),
    path("runs/", views.start, name="harvest-start"),
    path("runs/<uuid:id>/", views.run, name="harvest-run"),
    path("runs/<uuid:id>/panel/", views.run_panel, name="harvest-run-panel"),
    path("runs/<uuid:id>/apply/", views.apply, name="harvest-apply"),
    path("runs/<uuid:id>/confirm/", views.confirm, name="harvest-run-confirm"),
    path("runs/<uuid:id>/entries/<uuid:entry>/unlink/", views.unlink, name="harvest-entry-unlink"),
    path("runs/<uuid:id>/undo/", views.undo, name="harvest-undo"),
]
