"""Products on disk and the record of what was done."""
