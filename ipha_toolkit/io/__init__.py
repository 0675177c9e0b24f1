"""Files in and out: images, the cohort folder, results."""
