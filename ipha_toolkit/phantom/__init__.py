"""The simulated patient, whose every finding is known."""
