"""The words of the program: quantities, records, artifacts, errors. Standard library and pydantic only."""
