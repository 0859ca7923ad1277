"""One order, several venues: a plan, an independent check of it, and its execution."""
