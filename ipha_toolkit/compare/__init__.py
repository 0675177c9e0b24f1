"""Rows to answers: against controls, over time, between groups."""
