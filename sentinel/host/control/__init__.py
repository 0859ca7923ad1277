"""The operator's way into a running daemon: one socket in the store's directory, a line of JSON each way."""
