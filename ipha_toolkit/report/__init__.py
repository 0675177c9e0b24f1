"""Pages: notebooks to self-contained HTML and slides."""
