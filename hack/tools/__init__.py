"""Programs that the tests and make targets use and that are not Python libraries."""
