"""A node of the payments upstream."""
