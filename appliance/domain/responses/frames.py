"""Frames of an event stream as they are kept: one after the other, each ending in a blank line and
with none inside.  A frame's place among them is its sequence number.  Pure."""

END = b"\n\n"


def count(frames: bytes) -> int:
    """How many there are."""
    return frames.count(END)


def after(frames: bytes, n: int) -> bytes:
    """What follows the first `n` of them; empty where there are no more."""
    position = 0
    for _ in range(n):
        found = frames.find(END, position)
        if found < 0:
            return b""
        position = found + len(END)
    return frames[position:]
