"""A ColBERT model that the user supplied: its folder, its token vectors, and MaxSim over them."""
