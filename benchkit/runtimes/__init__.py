"""Runtimes: one file each behind the small protocol of `benchkit.runtimes.protocol`."""
