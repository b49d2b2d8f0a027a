"""What the machine can do at most, measured, and how much of it a model attains."""
