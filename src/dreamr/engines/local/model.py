"""One loaded model: tokens in, hidden rows and logits out, nothing in between that can be avoided.

The decoder is called directly, with explicit positions, a prepared mask (none where plain causal
attention does) and our store as its cache. Nothing is kept on the model between calls: Qwen-VL's
own forward keeps the rotary offset of the last conversation there, which mixes up any two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers.cache_utils import DynamicCache

from dreamr.engines.local.cpu.decoder import NumpyDecoder, is_known
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.kv_cache import KVCache, SnapshotStore, Store, uniform_shape
from dreamr.errors import EngineError


class Decoder(Protocol):
    """The layers of a model."""

    def __call__(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        store: Store,
        mask: torch.Tensor | None,
        extra: dict[str, Any],
        last: bool = False,
    ) -> torch.Tensor:
        """Hidden rows, normed, of shape (rows, width). The store is not advanced.

        last: only the last row is wanted, (1, width); the keys and values of all are written.

        embeds: (1, rows, width). positions: (axes, 1, rows), or (1, rows) where axes is 1. mask:
        (1, 1, rows, store length + rows), True where attention is allowed; None means causal, which
        is enough for one row, for an empty store, and for models that do not rewind.
        """
        ...


class Features:
    """What the pictures of one conversation become. Rows are in the order of the placeholders.

    rows: (picture tokens, width). deep: the same for each early layer that adds its own (DeepStack
    of Qwen3-VL). counts: picture tokens of each picture. grid: (pictures, 3), patches in time,
    height and width, for models with three-dimensional positions.
    """

    def __init__(
        self,
        rows: torch.Tensor,
        counts: list[int],
        deep: list[torch.Tensor],
        grid: torch.Tensor | None,
    ) -> None:
        self.rows, self.counts, self.deep, self.grid = rows, counts, deep, grid

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + sum(layer.nbytes for layer in self.deep)


class Model:
    """A transformers model and what is needed to run it without `generate`.

    Args:
        model: in eval mode, on its device.
        image_processor: transformers' image processor, None for text models.
        lean: use our own loop over the layers where that is known to give the same.
    """

    def __init__(self, model: Any, image_processor: Any = None, *, lean: bool = True) -> None:
        self.hf = model
        self.config = model.config.get_text_config(decoder=True)
        self.context = int(self.config.max_position_embeddings)
        self.device: torch.device = model.device
        self.embed = model.get_input_embeddings()
        self.head = model.get_output_embeddings()
        self.image_processor = image_processor
        # No token has number -1: text models have no place for pictures.
        self.image_token = int(getattr(model.config, "image_token_id", -1))
        inner = model.model if image_processor is not None else None
        self._rope_index = getattr(inner, "get_rope_index", None)
        self.axes = 3 if self._rope_index is not None else 1
        self._line = torch.empty(0)
        self._points: tuple[torch.Tensor, ...] = ()
        self._plain_rows: tuple[Any, Any] | None = None  # embedding and head, in NumPy
        self.decoder: Decoder = _ModuleDecoder(model)
        self._shape = self._probe()
        if lean and self._shape is not None and is_known(model.get_decoder()):
            self._use_lean(NumpyDecoder(model.get_decoder(), self.decoder))

    @property
    def takes_images(self) -> bool:
        return self.image_processor is not None

    @property
    def rewinds(self) -> bool:
        """Whether its stores can go back anywhere, and a mask decides alone what a row sees."""
        return self._shape is not None

    @property
    def batches(self) -> bool:
        """Whether parts of several sequences can share a pass."""
        return isinstance(self.decoder, NumpyDecoder)

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Ask this within long passes, and raise `Interrupted` where it says so.

        transformers' own modules run to their end.
        """
        if isinstance(self.decoder, NumpyDecoder):
            self.decoder.interrupted = interrupted

    def run(self, part: Part) -> torch.Tensor:
        """What a part wants: its rows, hidden or as logits, or the last of them alone."""
        rows = self.decoder(
            part.embeds, part.positions, part.store, part.mask, part.extra, part.last
        )
        return self.logits(rows) if part.head else rows

    def run_all(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """The same for parts of different sequences, in one pass as far as that goes."""
        decoder = self.decoder
        plain = [part for part in parts if not part.extra]
        if not isinstance(decoder, NumpyDecoder) or len(plain) < 2:
            return [self.run(part) for part in parts]
        found = decoder.together(plain)
        heads = [number for number, part in enumerate(plain) if part.head]
        if heads:
            sizes = [len(found[number]) for number in heads]
            logits = self.logits(torch.cat([found[number] for number in heads]))
            for number, rows in zip(heads, logits.split(sizes), strict=True):
                found[number] = rows
        shared = iter(found)
        return [self.run(part) if part.extra else next(shared) for part in parts]

    def new_store(self) -> Store:
        """An empty store of this model's kind."""
        return SnapshotStore(self.config) if self._shape is None else KVCache(self._shape)

    def tokens(self, ids: list[int]) -> torch.Tensor:
        """Embedding rows of tokens: (1, n, width)."""
        if self._plain_rows is not None and len(ids) == 1:
            return torch.from_numpy(self._plain_rows[0][None, ids[0] : ids[0] + 1])
        rows: torch.Tensor = self.embed(torch.tensor([ids], device=self.device))
        return rows

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) in float32 of hidden rows (rows, width)."""
        if self._plain_rows is not None and len(hidden) == 1:
            return torch.from_numpy(self._plain_rows[1] @ hidden[0].numpy())[None]
        logits: torch.Tensor = self.head(hidden)
        return logits.float()

    def line(self, start: int, stop: int) -> torch.Tensor:
        """Plain positions start .. stop, in the shape that the decoder takes."""
        if stop > self._line.shape[-1]:
            line = torch.arange(max(1024, 2 * stop), device=self.device)
            self._line = line.expand(3, 1, -1) if self.axes == 3 else line.unsqueeze(0)
            self._points = self._line.split(1, -1)
        if stop - start == 1:  # once a token: taking a view apart costs more than looking it up
            return self._points[start]
        return self._line[..., start:stop]

    def look(self, pictures: list[Any]) -> Features:
        """Run the vision tower over pictures (PIL images, RGB)."""
        inputs = self.image_processor(images=pictures, return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.hf.dtype)
        seen = self.hf.model.get_image_features(**inputs, return_dict=True)
        rows = seen.pooler_output
        deep = [torch.cat(list(layer)) for layer in getattr(seen, "deepstack_features", None) or []]
        return Features(
            torch.cat(list(rows)), [len(row) for row in rows], deep, inputs.get("image_grid_thw")
        )

    def places(self, ids: list[int], features: Features | None) -> torch.Tensor | None:
        """Positions of a prompt with pictures, (3, 1, n); None where they are plain."""
        if features is None or self._rope_index is None:
            return None
        row = torch.tensor([ids], device=self.device)
        kinds = torch.eq(row, self.image_token).int()
        places, _ = self._rope_index(
            input_ids=row, mm_token_type_ids=kinds, image_grid_thw=features.grid
        )
        return torch.as_tensor(places)

    def _probe(self) -> Any:
        """Run one token: what its cache looks like, and that decoder and head are all there is."""
        token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        cache = DynamicCache(config=self.config)
        whole = self.hf(input_ids=token, use_cache=True, cache=cache).logits
        store = SnapshotStore(self.config)
        hidden = self.decoder(self.embed(token), self.line(0, 1), store, None, {})
        if not torch.allclose(self.logits(hidden), whole[0].float(), rtol=1e-3, atol=1e-3):
            raise EngineError(
                f"models of type {self.hf.config.model_type} do more than decoder and head, "
                "which the local engine does not know: serve this one over HTTP"
            )
        return uniform_shape(cache)

    def _use_lean(self, lean: Decoder) -> None:
        """Take it if it gives what the modules give: in a pass of many rows, and of one."""
        width = self.embed.weight.shape[1]
        rows = torch.randn(
            (1, 7, width), generator=torch.Generator().manual_seed(0), device=self.device
        )
        rows *= self.embed.weight.std()
        if torch.allclose(
            self._two_passes(self.decoder, rows), self._two_passes(lean, rows), 1e-3, 1e-4
        ):
            self.decoder = lean
            if getattr(self.head, "bias", None) is None:
                # A call of a module costs more than a row of a small model's table.
                weights = self.embed.weight.detach(), self.head.weight.detach()
                self._plain_rows = weights[0].numpy(), weights[1].numpy()

    def _two_passes(self, decoder: Decoder, rows: torch.Tensor) -> torch.Tensor:
        store = self.new_store()
        count = rows.shape[1] - 1
        first = decoder(rows[:, :count], self.line(0, count), store, None, {})
        store.advance(count)
        return torch.cat(
            [first, decoder(rows[:, count:], self.line(count, count + 1), store, None, {})]
        )


class _ModuleDecoder:
    """transformers' own decoder module."""

    def __init__(self, model: Any) -> None:
        self._module = model.get_decoder()

    def __call__(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        store: Store,
        mask: torch.Tensor | None,
        extra: dict[str, Any],
        last: bool = False,
    ) -> torch.Tensor:
        out = self._module(
            inputs_embeds=embeds,
            position_ids=positions,
            cache=store.cache,
            attention_mask=mask,
            use_cache=True,
            **extra,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden[-1:] if last else hidden
