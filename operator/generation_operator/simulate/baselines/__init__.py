"""Other autoscalers as `simulate.ports.Scaler`: their arithmetic, their loops, and the age of what they see."""
