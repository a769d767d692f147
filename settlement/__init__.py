"""Budgets and statements: what recorded time comes to, against what was agreed with the client."""
