"""Addresses of budgets."""

from django.urls import path

from settlement import budget_views as views

urlpatterns = [
    path("budgets/", views.budgets, name="budgets"),
    path("clients/<uuid:client_id>/budgets/", views.client_budgets, name="client-budgets"),
    path("clients/<uuid:client_id>/budgets/new/", views.new_budget, name="budget-new"),
    path("clients/<uuid:client_id>/budgets/<uuid:id>/", views.edit_budget, name="budget-edit"),
    path("clients/<uuid:client_id>/budgets/<uuid:id>/delete/", views.delete_budget, name="budget-delete"),
]
