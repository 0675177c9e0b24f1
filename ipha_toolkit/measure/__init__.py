"""Voxels to rows of the one table."""
