"""What goes wrong around the cores: a tool that is missing or refuses its input, a core that cannot be built."""

from __future__ import annotations

from sentinel.errors import FieldError


class ToolError(FieldError):
    """A program the hardware tools need that is absent, or that failed. The remedy says what to install or read."""


class CoreError(FieldError):
    """A core, proof or parameter that does not exist."""
