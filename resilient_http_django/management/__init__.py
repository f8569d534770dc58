"""The command of this app: manage.py resilient_http."""
