"""The settings of the tests' Django project with the live page, users and a login."""

from tests.resilient_http_django.project.settings import *  # noqa: F403 - settings

ROOT_URLCONF = "tests.resilient_http_django.console_urls"
INSTALLED_APPS = ["django.contrib.admin", *INSTALLED_APPS]  # noqa: F405 - it is there
MIDDLEWARE = [
    "resilient_http_django.middleware.ResilientHttpMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
