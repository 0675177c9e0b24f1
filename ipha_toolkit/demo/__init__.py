"""The embedded cohort: simulated, analyzed as any cohort would be, and set against the truth."""
