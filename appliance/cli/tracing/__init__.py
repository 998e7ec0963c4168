"""What `appliance trace` finds and how it is told; the command is cli/trace.py."""
