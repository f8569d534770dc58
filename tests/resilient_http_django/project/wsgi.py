"""WSGI. On request it makes an outbound call while it is imported: with `gunicorn --preload`, before the fork."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.resilient_http_django.project.settings")
application = get_wsgi_application()

if "PROJECT_CALL_BEFORE_FORK" in os.environ:
    from resilient_http_django import get_client

    get_client().get("http://payments/before-fork", headers={"X-Pid": str(os.getpid())})
