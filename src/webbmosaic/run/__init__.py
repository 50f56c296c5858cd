"""Which tasks there are, and how they are run."""
