"""Models run by transformers, each in a worker process. Importing this loads no torch.

transformers' continuous batching (5.24.0, `generation/continuous_batching`) cannot take the place
of this engine:

- A request is a list of token ids (`add_request`). Embeddings of images cannot be given.
- It returns generated tokens. The logits of given tokens, which judging reads, stay inside.
- Positions count upwards and masks are causal. Several questions about a conversation cannot be
  asked in one pass, each after a step of its own (`judging`).
- Finished requests share keys and values by whole pages of equal prefixes. A sequence cannot be
  rewound to a token and continued.
- A request is cancelled between two passes, never within one.

vLLM is not a dependency. Its server is one of those that `dreamr.engines.http` talks to. As a
library it would leave out the same: a request has no mask and no positions of its own, so each
judged step is a request of its own, and no pass is aborted.
"""

from dreamr.engines.local.engine import LocalEngine
from dreamr.engines.local.options import Hints, LocalOptions

__all__ = ["Hints", "LocalEngine", "LocalOptions"]
