"""Records into tables, pages and charts, each a pure function of the records; verdicts are left to `judge`."""
