"""Settings: frozen pydantic models, and how layers of raw mappings become them."""
