"""The stages: each reads, computes and writes."""
