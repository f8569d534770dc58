"""python -m resilient_http is the command resilient-http."""

import sys

from resilient_http.cli import main

sys.exit(main())
