"""Pictures: what is drawn with matplotlib, each figure with its description in words."""
