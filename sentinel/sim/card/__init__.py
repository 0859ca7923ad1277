"""The card without hardware: the emitted core, compiled into this process."""
