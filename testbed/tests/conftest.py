from __future__ import annotations

import signal

from hypothesis import settings

# The time of a case depends on the load of the machine, so there is no deadline.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# Background jobs of a shell, and their children, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
