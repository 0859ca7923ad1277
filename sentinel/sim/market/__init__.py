"""Where the simulated exchange's prices come from: a seeded model, a recorded capture, a live exchange."""
