"""The pricing service: FastAPI, calls the payments nodes."""
