"""`python example_project/shop/manage.py check` says whether the settings are right."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.shop.settings")
    execute_from_command_line(sys.argv)
