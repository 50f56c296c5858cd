"""What is done to pixels: arrays in, arrays out."""
