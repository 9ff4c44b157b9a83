"""The world outside: HTTP in, generators and the clock out."""
