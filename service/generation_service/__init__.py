"""An HTTP service that runs AI generation workflows: what the operator scales in the demo."""
