"""Advice of the doctor, in one place so that it can be checked as a whole.

Each text stands alone, and holds only for what its name says was found.
"""

from __future__ import annotations

ASK_FOR_STEPS = (
    "ask for steps separated by blank lines in a system message, or set --delimiter to what the "
    "model writes between steps"
)
SET_MARKER = "set --answer-marker to the text that the model writes before its answer"
USE_JUDGING_SERVER = (
    "use a server that supports top_logprobs (vLLM, SGLang, llama.cpp), or --method target"
)
ENABLE_VISION = (
    "if the model accepts images, serve its vision part (llama.cpp: --mmproj; vLLM: no "
    "--language-model-only, no image limit of 0); otherwise send text only, or use another model"
)
ROUTE_WITHOUT_IMAGES = (
    "serve the instruct variant of the model, or start the server with another --chat-template; "
    "prompts without images work"
)
SHRINK_IMAGES = "serve the model with a longer context, or send smaller images"
READ_LOG = "read the server's log: the model may accept images, this request failed"
FULL_PRECISION = (
    "serve the model in float32 or bfloat16 without quantization if texts must be reproducible"
)
OTHER_PROMPT = "set --judge-prompt to a question that the model answers with positive or negative"
OTHER_PROMPT_OR_TARGET = "set another --judge-prompt, or use a larger target"
NO_SPECULATION = (
    "llama.cpp reports this while it speculates: start the server that judges without "
    "--spec-type and without a draft model"
)
ENABLE_CACHE = (
    "enable the prefix cache (vLLM: no --no-enable-prefix-caching; SGLang: no "
    "--disable-radix-cache; llama.cpp: --cache-reuse, one slot for each run); if it is on, the "
    "model or its images cannot use it: use a target with full attention"
)
COARSE_BLOCKS = (
    "start vLLM with --enable-scale-out on a GPU, so that a window can be judged in one request; "
    "where it is a choice, use a target with full attention, or a smaller --block-size"
)
OTHER_TARGET_FOR_WINDOWS = (
    "leave --judge-batch at auto, or set another --judge-prompt; where it is a choice, use a "
    "target with full attention"
)
REPORT_CACHED = "start vLLM with --enable-prompt-tokens-details, SGLang with --enable-cache-report"
DISABLE_CACHE = (
    "update the server; until then start it without its prefix cache (vLLM: "
    "--no-enable-prefix-caching), or without its own speculative decoding"
)
REPORT_RUNNING = "start llama.cpp with --metrics, SGLang with --enable-metrics"
IDLE_SERVER = (
    "repeat the check on an idle server; a proxy must close its connection to the server too"
)
SYNCHRONIZE = "synchronize both machines by NTP (timedatectl set-ntp true)"
MORE_TIME = "check that the server is idle, or allow more with --time-limit"
SMALLER_DRAFT = (
    "use a smaller draft or one on its own device; compare with the target's own token-level "
    "speculation (vLLM: --speculative-config), typically {low:g} to {high:g} times with a trained "
    "head"
)
