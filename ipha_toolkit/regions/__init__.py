"""Which voxels: lungs, their zones, vessels, reference tissue."""
