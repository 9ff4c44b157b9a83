"""What a workflow is and how it can fail: values only, no I/O, no clock, no asyncio."""
