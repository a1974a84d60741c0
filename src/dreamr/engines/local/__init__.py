"""Local engine: transformers models, each in its own worker process.

Importing this package does not import torch.

transformers' continuous batching (5.24.0, `generation/continuous_batching`) is not used:

- A request is a list of token ids (`add_request`). Image embeddings cannot be passed.
- It returns generated tokens. The logits of given tokens, which judging needs, are not exposed.
- Positions are consecutive and masks are causal. Several questions, each about a different step,
  cannot be asked in one forward pass (`judging`).
- Finished requests share the KV cache only as whole pages of equal prefixes. A sequence cannot be
  rewound to a token and continued.
- A request is canceled between two forward passes, never within one.

vLLM is not used as a library for similar reasons: a request has no mask and no positions of its
own, so each judged step would be a separate request, and a forward pass cannot be aborted. vLLM
servers are supported by `dreamr.engines.http`.
"""

from dreamr.engines.local.engine import LocalEngine
from dreamr.engines.local.options import Hints, LocalOptions

__all__ = ["Hints", "LocalEngine", "LocalOptions"]
