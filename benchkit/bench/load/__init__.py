"""Calls that arrive by themselves: schedules, the open loop, its queue, the search for a rate, MLPerf's generator."""
