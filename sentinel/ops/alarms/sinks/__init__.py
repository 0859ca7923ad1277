"""Where alerts go. Each sink takes one alert at a time, in a thread of its own, and raises AlarmError where it cannot."""
