"""Statements as files. `report` gathers what they say; `csv`, `xlsx` and `pdf` write it, alike to the cent."""
