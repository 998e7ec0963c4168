"""What of the pairs becomes training data: a pair, the rules against it, its side, the manifest.
Pure."""
