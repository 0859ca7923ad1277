"""The fault campaign: the real daemon against the simulated exchange under seeded faults and deaths, checked after each seed."""
