from __future__ import annotations

import signal

from hypothesis import settings

# How long a case takes says more of the machine than of the code.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# A shell that starts the tests in the background makes them ignore it, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
