"""The Generation Operator: meets the performance targets that a `GenerationService` resource declares."""
