"""Model servers whose work is time: OpenAI-compatible, with the rates of models on named devices.

They write chains of reasoning that are drawn from a seed, with a draft that is right at a stated
rate. Prefill, decoding, batches, the prefix cache and cancellation take the time that a model of
that size would take. Two of them compare schedules over real HTTP without the models.
"""

from dreamr_testbed.emulator.batching import Batching, Rates
from dreamr_testbed.emulator.chains import Chain, Chains, load_chains, split_tokens
from dreamr_testbed.emulator.prefix_cache import PrefixCache
from dreamr_testbed.emulator.server import build_app

__all__ = [
    "Batching",
    "Chain",
    "Chains",
    "PrefixCache",
    "Rates",
    "build_app",
    "load_chains",
    "split_tokens",
]
