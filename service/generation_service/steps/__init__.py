"""The kinds of steps that a workflow is made of, and how users add their own."""
