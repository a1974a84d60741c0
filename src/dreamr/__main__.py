"""`python -m dreamr` is `dreamr`."""

import sys

from dreamr.cli import main

sys.exit(main())
