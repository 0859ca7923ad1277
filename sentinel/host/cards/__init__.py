"""Cards: one driver and one decider over any bus that reaches a core, real or simulated."""
