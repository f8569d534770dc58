"""The shop for uvicorn: the async views."""

import os

from django.core.asgi import get_asgi_application

from example_project.observed import observe

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.shop.settings")
observe("shop")
application = get_asgi_application()
