"""Experiments: one TOML file -> steps keyed by the digest of their inputs -> artifacts, records, page."""
