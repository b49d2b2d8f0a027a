"""Merging a fine-tuned encoder into another, across depth and width; training and exporting are left to others."""
