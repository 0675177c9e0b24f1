"""The cohort explorer: a plot, a table, the slices and a patient's timeline of a results folder, in one widget."""
