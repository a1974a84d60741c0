"""What a token, a prompt and a judging pass cost a local engine, against transformers' generate.

    python benchmarks/decode.py                    # random models of the embedded pair's sizes
    python benchmarks/decode.py --model FOLDER     # any text or picture model

All figures are medians in milliseconds, on one torch thread, taken in turns. "engine" is what a
caller sees: the worker process, the socket and the event loop are in it. On a busy machine take
--cpu-time: all but the engine's are then of the processor's time, not of the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, Sampling
from dreamr.engines.local import LocalEngine, LocalOptions

TOKENS = 96
STEP = "So far that makes 4 apples and 3 pears.\n\n"
SIZES = {
    "target 16 x 192": (16, 192, 512),
    "target 12 x 256": (12, 256, 704),
    "draft 2 x 128": (2, 128, 384),
}
now: Callable[[], float] = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", default=[], help="a model folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time")
    options = parser.parse_args()
    if options.cpu_time:
        global now
        now = time.thread_time
    with tempfile.TemporaryDirectory() as folder:
        models = {path: Path(path) for path in options.model}
        if not models:
            models = {name: build(Path(folder) / name, *size) for name, size in SIZES.items()}
        print(f"{'model':18}{'what':34}{'ms':>8}")
        for name, path in models.items():
            for what, cost in measure(path, options.rounds).items():
                print(f"{name:18}{what:34}{cost:8.2f}")


def measure(path: Path, rounds: int) -> dict[str, float]:
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the worker does, before torch is imported
    import torch

    from dreamr.engines.local._load import load

    torch.set_num_threads(1)
    talk = question()
    with torch.inference_mode():
        plain = load(str(path), LocalOptions(lean=False))
        lean = load(str(path), LocalOptions())
        for loaded in (plain, lean):
            loaded.ends = frozenset()
        ways: dict[str, Callable[[], float]] = {
            "generate, per token": lambda: generated(plain, talk),
            "modules, per token": lambda: streamed(plain, talk),
            "lean, per token": lambda: streamed(lean, talk),
            "modules, prompt of 260 tokens": lambda: read(plain, talk),
            "lean, prompt of 260 tokens": lambda: read(lean, talk),
            "modules, judge 3 steps": lambda: judged(plain, talk),
            "lean, judge 3 steps": lambda: judged(lean, talk),
            "engine, per token": lambda: asyncio.run(served(path, talk)),
        }
        times: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(rounds):
            for what, way in ways.items():
                times[what].append(way())
    return {what: 1e3 * statistics.median(values) for what, values in times.items()}


def generated(loaded: Any, talk: Conversation) -> float:
    import torch

    ids = torch.tensor([loaded.prompter.opening(talk)])
    taken = []
    for tokens in (1, TOKENS + 1):
        start = now()
        loaded.model.hf.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
        )
        taken.append(now() - start)
    return (taken[1] - taken[0]) / TOKENS


def streamed(loaded: Any, talk: Conversation) -> float:
    from dreamr.engines.local._session import Session
    from dreamr.engines.local._stream import StreamTask

    sampling = Sampling(TOKENS + 1)
    task = StreamTask(1, Session(loaded, talk), (), sampling, loaded=loaded, credit=0, prefill=512)
    while task.advance() is None:
        pass
    start = now()
    for _ in range(TOKENS):
        task.advance()
    return (now() - start) / TOKENS


def read(loaded: Any, talk: Conversation) -> float:
    from dreamr.engines.local._session import Session

    session = Session(loaded, talk)
    ids = (session.prompt * 300)[:260]
    branch = session.acquire("stream", ids)
    start = now()
    session.feed(branch, ids, 512)
    return now() - start


def judged(loaded: Any, talk: Conversation) -> float:
    from dreamr.engines.local._judge import Judging
    from dreamr.engines.local._session import Session

    judging = Judging(loaded, "Judge the last step.", LocalOptions().labels, 512)
    session = Session(loaded, talk)
    prefix = [STEP] * 4
    judging.judge(session, prefix, [STEP])
    start = now()
    judging.judge(session, prefix, [STEP.replace("4", "5")] * 3)
    return now() - start


async def served(path: Path, talk: Conversation) -> float:
    async with LocalEngine(str(path)) as engine:
        times = []
        stream = engine.stream(Context(talk), Sampling(TOKENS + 1))
        async for _ in stream:
            times.append(time.perf_counter())
        return (times[-1] - times[0]) / max(1, len(times) - 1)


def question() -> Conversation:
    return Conversation((Turn("user", (Text("What do tea and milk cost together? " * 8),)),))


def build(folder: Path, layers: int, width: int, inner: int) -> Path:
    """A random text model of this size, with a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([STEP + " positive negative Positive Negative"] * 9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + '<|end|>' }}{% endfor %}"
    heads = width // 32
    config = Qwen3Config(
        vocab_size=640,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 3) if heads % 3 == 0 else heads // 2,
        head_dim=32,
        max_position_embeddings=1024,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
