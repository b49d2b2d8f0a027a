"""Hold records against budgets, and two artifacts against each other; four verdicts."""
