"""Plan, launch and time cells in fresh processes, and make records of the outcomes."""
