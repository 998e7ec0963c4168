"""Moderators that are elsewhere."""
