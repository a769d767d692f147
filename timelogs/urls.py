"""Addresses of time logs, activity types and work items."""

from django.urls import path

from timelogs import views

urlpatterns = [
    path("time-logs/", views.time_logs, name="time-logs"),
    path("time-logs/new/", views.log_time, name="time-log-new"),
    path("time-logs/places/", views.places, name="places"),
    path("time-logs/deleted/", views.deleted_time_logs, name="time-logs-deleted"),
    path("time-logs/<uuid:id>/", views.time_log, name="time-log"),
    path("time-logs/<uuid:id>/edit/", views.edit_time_log, name="time-log-edit"),
    path("time-logs/<uuid:id>/delete/", views.delete_time_log, name="time-log-delete"),
    path("time-logs/<uuid:id>/restore/", views.restore_time_log, name="time-log-restore"),
    path("settings/activity-types/", views.activity_types, name="activity-types"),
    path("settings/activity-types/new/", views.new_activity_type, name="activity-type-new"),
    path("settings/activity-types/<uuid:id>/", views.edit_activity_type, name="activity-type-edit"),
    path(
        "settings/activity-types/<uuid:id>/delete/", views.delete_activity_type, name="activity-type-delete"
    ),
    path("clients/<uuid:client_id>/work-items/", views.work_items, name="client-work-items"),
    path("clients/<uuid:client_id>/work-items/new/", views.new_work_item, name="work-item-new"),
    path("clients/<uuid:client_id>/work-items/<uuid:id>/", views.edit_work_item, name="work-item-edit"),
    path(
        "clients/<uuid:client_id>/work-items/<uuid:id>/delete/",
        views.delete_work_item,
        name="work-item-delete",
    ),
]
