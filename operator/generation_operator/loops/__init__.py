"""The clocked and queued parts of the process: work queue, autoscaler, resync."""
