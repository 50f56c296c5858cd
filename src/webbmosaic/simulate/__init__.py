"""Raw exposures with a known truth, and the references they need."""
