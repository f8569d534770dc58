"""State: machines that decide. Plain synchronous code under its own lock; time and randomness come in as arguments."""
