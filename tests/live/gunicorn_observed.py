"""The configuration of gunicorn for observed_app.py."""

preload_app = True
workers = 2
worker_class = "sync"


def post_fork(server, worker):
    from tests.live.observed_app import post_fork as observe

    observe(server, worker)
