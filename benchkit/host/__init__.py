"""The machine: facts, GPUs, and what disturbed a measurement. Instruments are left to `meters`."""
