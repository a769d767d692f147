"""Fixtures of the product: workspaces, people, connections."""
