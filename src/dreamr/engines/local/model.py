"""A loaded model: from tokens to hidden rows and logits, with as little overhead as possible.

The decoder is called directly, with explicit positions. No state is kept on the model between
calls. Qwen-VL's own forward method keeps the rotary offset of the last conversation, so that
interleaved conversations would get wrong positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from dreamr.engines.local.cpu.decoder import NumpyDecoder, is_known
from dreamr.engines.local.decoder import Decoder
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.kv_cache import KVCache, Shape, SnapshotStore, Store, uniform_shape
from dreamr.engines.local.options import DecoderKind
from dreamr.engines.local.torch_decoder import TorchDecoder
from dreamr.engines.protocol import DType
from dreamr.errors import EngineError

_LEAST_PIXELS = 2**20
_SPARE = 16
_FEW, _MANY = 7, 33  # rows of the trials of a decoder
_ROUNDED = 5e-2  # largest error in bfloat16, relative to the rows


class Features:
    """Features of one image, which conversations share.

    Attributes:
        rows: (image tokens, width).
        deep: The same as `rows` for each early layer that adds image features (DeepStack of
            Qwen3-VL).
        grid: (1, 3), patches in time, height and width, for models with three-dimensional
            positions.
    """

    def __init__(
        self, rows: torch.Tensor, deep: list[torch.Tensor], grid: torch.Tensor | None
    ) -> None:
        self.rows, self.deep, self.grid = rows, deep, grid

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.rows.nbytes + sum(layer.nbytes for layer in self.deep)


class LocalModel:
    """A transformers model, run without `generate`.

    Args:
        model: Model in eval mode, on its device.
        image_processor: transformers' image processor; None for text models.
        decoder: "auto" uses the NumPy decoder if it supports the model and gives the same results.
        dtype: Type in which the NumPy decoder multiplies many rows; "auto" for the faster one.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any = None,
        *,
        decoder: DecoderKind = "auto",
        dtype: DType = "float32",
    ) -> None:
        self.hf = model
        self.config = model.config.get_text_config(decoder=True)
        self.context = int(self.config.max_position_embeddings)
        self.device: torch.device = model.device
        self.image_processor = image_processor
        # Text models have no placeholder for images, and no token has id -1.
        self.image_token = int(getattr(model.config, "image_token_id", -1))
        inner = model.model if image_processor is not None else None
        self._rope_index = getattr(inner, "get_rope_index", None)
        self.axes = 3 if self._rope_index is not None else 1
        self._line = torch.empty(0)
        self._points: tuple[torch.Tensor, ...] = ()
        modules = TorchDecoder(model)
        self.decoder: Decoder = modules
        self._shape = self._probe()
        if self._shape is not None:
            modules.use_kv_cache(self._shape, self.line)
            if decoder == "auto" and is_known(model.get_decoder()):
                self._use(NumpyDecoder(model, modules, dtype))

    @property
    def dtype(self) -> str:
        """Type in which passes of many rows multiply, such as 'bfloat16'."""
        return self.decoder.dtype

    @property
    def takes_images(self) -> bool:
        """Whether the model accepts images."""
        return self.image_processor is not None

    @property
    def image_pixels(self) -> int | None:
        """Number of pixels above which images are only scaled down; None if unknown."""
        size = getattr(self.image_processor, "size", None)
        if hasattr(self.image_processor, "merge_size"):  # of Qwen-VL: the "edge" is an area
            return _entry(size, "longest_edge")
        edges = _entry(size, "height"), _entry(size, "width")
        width, height = edges if all(edges) else (_entry(size, "shortest_edge"),) * 2
        if not width or not height:
            return None
        # Of an elongated image, the shorter edge counts; and scaling twice costs some sharpness.
        return max(_LEAST_PIXELS, _SPARE * width * height)

    @property
    def rewinds(self) -> bool:
        """Whether stores can rewind to any length and masks alone limit attention."""
        return self._shape is not None

    @property
    def packs(self) -> bool:
        """Whether parts of several sequences can share a forward pass."""
        return self.decoder.packs

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Register a function that can abort long forward passes; see `Decoder.watch`."""
        self.decoder.watch(interrupted)

    def run(self, part: Part) -> torch.Tensor:
        """Run a part and return what it requests: all rows or the last, hidden or as logits."""
        (rows,) = self.decoder([part])
        return self.logits(rows) if part.head else rows

    def run_all(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """Run parts of different sequences, in one pass if the decoder packs; see `run`."""
        if len(parts) == 1:
            return [self.run(parts[0])]
        found = self.decoder(parts)
        heads = [number for number, part in enumerate(parts) if part.head]
        if heads:
            sizes = [len(found[number]) for number in heads]
            logits = self.logits(torch.cat([found[number] for number in heads]))
            for number, rows in zip(heads, logits.split(sizes), strict=True):
                found[number] = rows
        return found

    def new_store(self) -> Store:
        """Return an empty store of the kind that the model needs."""
        return SnapshotStore(self.config) if self._shape is None else KVCache(self._shape)

    def tokens(self, ids: list[int]) -> torch.Tensor:
        """Return the embeddings of tokens, (1, tokens, width)."""
        return self.decoder.embed(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary) in float32, of hidden rows, (rows, width)."""
        return self.decoder.logits(hidden)

    def line(self, start: int, stop: int) -> torch.Tensor:
        """Return the positions start .. stop - 1, in the shape that the decoder takes."""
        if stop > self._line.shape[-1]:
            line = torch.arange(max(1024, 2 * stop), device=self.device)
            self._line = line.expand(3, 1, -1) if self.axes == 3 else line.unsqueeze(0)
            self._points = self._line.split(1, -1)
        if stop - start == 1:  # once per token: slicing a tensor takes longer than this
            return self._points[start]
        return self._line[..., start:stop]

    def look(self, image: Any) -> Features:
        """Run the vision tower on an image (PIL image, RGB)."""
        inputs = self.image_processor(images=[image], return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.hf.dtype)
        seen = self.hf.model.get_image_features(**inputs, return_dict=True)
        rows = seen.pooler_output
        deep = [torch.cat(list(layer)) for layer in getattr(seen, "deepstack_features", None) or []]
        return Features(torch.cat(list(rows)), deep, inputs.get("image_grid_thw"))

    def places(self, ids: list[int], features: Sequence[Features]) -> torch.Tensor | None:
        """Return the positions of a prompt, (3, 1, tokens); None if they are consecutive.

        Args:
            ids: Tokens of the prompt.
            features: Features of its images.
        """
        if not features or self._rope_index is None:
            return None
        grids = [one.grid for one in features if one.grid is not None]
        row = torch.tensor([ids], device=self.device)
        kinds = torch.eq(row, self.image_token).int()
        places, _ = self._rope_index(
            input_ids=row, mm_token_type_ids=kinds, image_grid_thw=torch.cat(grids)
        )
        return torch.as_tensor(places)

    def _probe(self) -> Shape | None:
        """Run one token to check that decoder and head are the whole model.

        Returns:
            The shape for a `KVCache`, or None if the model needs another store.
        """
        token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        cache = DynamicCache(config=self.config)
        whole = self.hf(input_ids=token, use_cache=True, cache=cache).logits
        part = Part(self.tokens([0]), self.line(0, 1), SnapshotStore(self.config), None, head=True)
        if not torch.allclose(self.run(part), whole[0].float(), rtol=1e-3, atol=1e-3):
            raise EngineError(
                f"the local engine does not support models of type {self.hf.config.model_type}: "
                "serve the model, for example with vLLM, and give the URL of the server"
            )
        return uniform_shape(cache)

    def _use(self, decoder: NumpyDecoder) -> None:
        """Use a decoder if it matches the modules in a pass of several rows and in one of one row.

        Bfloat16 is tried in a pass of many rows, and not used if it is off by more than rounding.
        """
        weights = self.hf.get_input_embeddings().weight
        drawn = torch.Generator().manual_seed(0)
        rows = torch.randn((1, _MANY, weights.shape[1]), generator=drawn) * weights.std()
        modules = self.decoder
        few, many = (self._two_passes(modules, rows[:, :count]) for count in (_FEW, _MANY))
        if torch.allclose(few, self._two_passes(decoder, rows[:, :_FEW]), 1e-3, 1e-4):
            self.decoder = decoder
        if decoder.dtype == "bfloat16":
            error = (self._two_passes(decoder, rows) - many).norm()
            if not error <= _ROUNDED * many.norm():
                decoder.use_float32()

    def _two_passes(self, decoder: Decoder, rows: torch.Tensor) -> torch.Tensor:
        store = self.new_store()
        count = rows.shape[1] - 1
        first = decoder([Part(rows[:, :count], self.line(0, count), store, None)])
        store.advance(count)
        last = decoder([Part(rows[:, count:], self.line(count, count + 1), store, None)])
        return torch.cat(first + last)


def _entry(size: Any, name: str) -> int | None:
    """Return an entry of the size that an image processor is configured with."""
    value = size.get(name) if isinstance(size, dict) else getattr(size, name, None)
    return int(value) if value else None
