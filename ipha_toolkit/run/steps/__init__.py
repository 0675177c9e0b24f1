"""One step a modality: from an image to the rows, masks, maps and tables of its part of a session."""
