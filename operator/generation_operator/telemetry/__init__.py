"""What the process tells about itself: its log, its metrics, its decisions, and whether it is well."""
