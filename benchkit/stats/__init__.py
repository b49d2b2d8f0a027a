"""Statistics as functions of raw values: bounds of quantiles, dependence, paired ratios. Judging is left to `judge`."""
