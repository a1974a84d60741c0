"""Problems to train on, as the rows that TRL's trainers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from random import Random
from typing import Any

from dreamr._plugins import import_plugins
from dreamr.conversation import Conversation, Image, Text, to_pillow
from dreamr.evaluation.tasks import Item, Items, load
from dreamr.training.errors import BadTraining

_KEPT = 256  # problems, with their pictures: a group asks for one again and again


class Problems:
    """The problems of several tasks, one numbering over all: `Problems[i]` makes the i-th."""

    def __init__(self, tasks: Mapping[str, Items]) -> None:
        self._places = [
            (task, items, place)
            for place in range(max(map(len, tasks.values()), default=0))
            for task, items in tasks.items()
            if place < len(items)
        ]
        self._item = lru_cache(_KEPT)(self._make)
        if not self._places:
            raise BadTraining("there are no problems to train on: name a task that has some")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Item:
        return self._item(number)

    def _make(self, number: int) -> Item:
        _, items, place = self._places[number]
        return items[place]

    def name(self, number: int) -> str:
        """The task and the item's index in it; nothing is drawn or read for that."""
        task, items, place = self._places[number]
        return f"{task}/{items.numbers[place]}"

    def dataset(self, rows: int, seed: int, *, sees: bool) -> Any:
        """A `datasets.Dataset` of so many rows, whose pictures are drawn or read when a row is.

        All problems come once, in an order that is drawn, before any comes again. A training reads
        it once and in order: what a resumed one goes on with does not hang on a sampler's state.

        sees: whether the draft takes pictures.
        """
        from datasets import Dataset

        rng = Random(seed)
        numbers: list[int] = []
        while len(numbers) < rows:
            numbers += rng.sample(range(len(self)), len(self))
        return Dataset.from_dict({"number": numbers[:rows]}).with_transform(
            partial(self._rows, sees)
        )

    def _rows(self, sees: bool, columns: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        numbers = columns["number"]
        rows = [row_of(self[number].conversation, sees=sees) for number in numbers]
        return {"number": list(numbers), **{name: [row[name] for row in rows] for name in rows[0]}}


def row_of(conversation: Conversation, *, sees: bool) -> dict[str, Any]:
    """The conversation as messages, under 'prompt', and where the draft sees, its 'images'.

    Turns of text alone hold a text: not every template knows parts. A trainer of text alone
    refuses a column of pictures, even of none.

    Raises:
        BadTraining: it holds what the draft cannot take.
    """
    messages: list[dict[str, Any]] = []
    images = []
    for turn in conversation.turns:
        content: list[dict[str, str]] = []
        for part in turn.parts:
            match part:
                case Text(text):
                    content.append({"type": "text", "text": text})
                case Image() if sees:
                    content.append({"type": "image"})
                    images.append(to_pillow(part))
                case Image():
                    raise BadTraining("the draft takes text only, and there are pictures")
                case _:
                    raise BadTraining(
                        f"training takes text and pictures, not {type(part).__name__.lower()}"
                    )
        texts = [part["text"] for part in content if part["type"] == "text"]
        plain = len(texts) == len(content)
        messages.append({"role": turn.role, "content": "".join(texts) if plain else content})
    return {"prompt": messages, "images": images} if sees else {"prompt": messages}


def training_problems(
    tasks: Sequence[str], each: int, seed: int, plugin: str | None = None
) -> Problems:
    """The problems of some tasks that are there to train on.

    Args:
        tasks: their names.
        each: how many of each.
        seed: of which.
        plugin: modules to import first, with commas between them; they may add tasks.

    Raises:
        BadOption: a plugin cannot be imported.
        TaskError: an unknown task, or its data.
    """
    import_plugins(plugin)
    return Problems({task: load(task, limit=each, seed=seed, split="train") for task in tasks})
