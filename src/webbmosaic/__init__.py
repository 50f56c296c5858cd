"""Reduce JWST imaging, from raw ramps to science-grade mosaics."""

__version__ = "0.1.0"
