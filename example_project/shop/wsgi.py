"""The shop for gunicorn: the sync views."""

import os

from django.core.wsgi import get_wsgi_application

from example_project.observed import observe

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.shop.settings")
observe("shop")
application = get_wsgi_application()
