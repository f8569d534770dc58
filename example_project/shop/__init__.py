"""The shop: Django, calls the pricing service."""
