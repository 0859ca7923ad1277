"""The kill process: stops, cancels, flattens and disconnects by a venue session and a key of its own."""
