"""Exposures compared with each other: `neighbour`, then `find_outliers`."""
