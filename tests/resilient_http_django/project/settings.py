"""Settings of the tests' Django project. Servers of their own get RESILIENT_HTTP through the environment, as JSON."""

import json
import os

SECRET_KEY = "of no use to anybody"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.resilient_http_django.project.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "resilient_http_django",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("PROJECT_DATABASE", ":memory:")}
}
MIDDLEWARE = ["resilient_http_django.middleware.ResilientHttpMiddleware"]
if "PROJECT_SYNC_ONLY" in os.environ:
    MIDDLEWARE.append("tests.resilient_http_django.project.middleware.sync_only")
RESILIENT_HTTP = json.loads(os.environ.get("PROJECT_RESILIENT_HTTP", "{}"))
STATIC_URL = "static/"
USE_TZ = True
