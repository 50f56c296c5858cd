"""The outside world: MAST, CRDS, catalogues."""
