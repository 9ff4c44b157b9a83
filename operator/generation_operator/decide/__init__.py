"""What to scale to: pure functions of an observation, a state and `now`. No I/O, no clock, no logging."""
