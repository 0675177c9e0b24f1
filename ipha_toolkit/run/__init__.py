"""The whole job: one session, a cohort, the simulated cohort, the demo."""
