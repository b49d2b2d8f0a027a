"""What a worker does: one module a pass, each imported only by the process that does it."""
