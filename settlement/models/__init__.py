"""The tables of settlement: budgets in `budgets`, statements in `statements`."""
