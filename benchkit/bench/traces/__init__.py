"""Looks inside a runtime, never in a timed pass: its own profile by operator, and flame graphs."""
