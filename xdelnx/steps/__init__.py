"""What is done to a block of genes, and what is done once to all genes: arrays in, arrays out."""
