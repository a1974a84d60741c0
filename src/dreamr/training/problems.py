"""Problems to train on, and their conversion to the rows that TRL's trainers read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from dreamr._plugins import import_plugins
from dreamr.conversation import Conversation, Image, Text, flatten, to_pillow
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import Item, Items, load, without_level
from dreamr.training.errors import BadTraining

# Problems that are kept with their attachments: a group reads the same problem several times.
_KEPT = 256
_KEPT_BYTES = 512 * 2**20


class Problems:
    """Problems of several tasks, numbered consecutively; `problems[i]` loads the i-th.

    The tasks alternate. Items are drawn or read when they are accessed.

    Attributes:
        levels: Levels of difficulty by task, of drawn tasks.

    Raises:
        BadTraining: If there are no tasks, or one has no problems.
    """

    def __init__(self, tasks: Mapping[str, Items]) -> None:
        check_problems(tasks)
        self._places = [
            (task, items, place)
            for place in range(max(map(len, tasks.values()), default=0))
            for task, items in tasks.items()
            if place < len(items)
        ]
        self._kept: OrderedDict[int, tuple[Item, int]] = OrderedDict()  # with their bytes
        self._bytes = 0
        self._images: dict[int, int] = {}  # of each problem that was accessed
        self.levels: dict[str, tuple[int, ...]] = {}
        for task, items in tasks.items():
            if items.levels:
                name = without_level(task)
                self.levels[name] = (*self.levels.get(name, ()), *items.levels)
        if not self._places:
            raise BadTraining("there are no problems to train on: name a task that has some")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Item:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number][0]
        _, items, place = self._places[number]
        item = items[place]
        self._images[number] = len(flatten(item.conversation).images)
        size = _size(item.conversation)
        self._kept[number] = item, size
        self._bytes += size
        while len(self._kept) > _KEPT or (self._bytes > _KEPT_BYTES and len(self._kept) > 1):
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped
        return item

    def name(self, number: int) -> str:
        """Return 'task/index' of a problem without loading it."""
        task, items, place = self._places[number]
        return f"{task}/{items.numbers[place]}"

    def most_images(self, numbers: Iterable[int]) -> int:
        """Return the largest number of images of some problems, which are loaded if necessary."""
        asked = set(numbers)
        for number in asked - self._images.keys():
            self[number]
        return max((self._images[number] for number in asked), default=0)

    def order(self, rows: int, seed: int) -> list[int]:
        """Return numbers of problems in random order.

        Every problem occurs once before any occurs again.

        Args:
            rows: Number of rows; may exceed the number of problems.
            seed: Seed of the order.
        """
        rng = Random(seed)
        numbers: list[int] = []
        while len(numbers) < rows:
            numbers += rng.sample(range(len(self)), len(self))
        return numbers[:rows]

    def dataset(
        self,
        numbers: Sequence[int],
        *,
        sees: bool,
        check: Callable[[Conversation], None] = lambda conversation: None,
    ) -> Any:
        """Return a `datasets.Dataset` of problems.

        Images are drawn or read when a row is accessed. The order is fixed and the trainer does not
        shuffle, so a resumed training does not depend on the state of a sampler.

        Args:
            numbers: Numbers of the problems, one per row.
            sees: Whether the draft takes images.
            check: Called with each conversation when its row is accessed, with pages and frames as
                images; raises an error if the draft does not take it.
        """
        from datasets import Dataset

        return Dataset.from_dict({"number": list(numbers)}).with_transform(
            partial(self._rows, sees, check)
        )

    def _rows(
        self,
        sees: bool,
        check: Callable[[Conversation], None],
        columns: Mapping[str, Sequence[int]],
    ) -> dict[str, list[Any]]:
        numbers = columns["number"]
        rows = []
        for number in numbers:
            conversation = self[number].conversation
            try:
                check(flatten(conversation))
                rows.append(row_of(conversation, sees=sees))
            except (BadTraining, Unsupported) as error:
                raise type(error)(f"{self.name(number)}: {error}") from error
        return {"number": list(numbers), **{name: [row[name] for row in rows] for name in rows[0]}}


def check_problems(tasks: Mapping[str, Items]) -> None:
    """Check that each task has problems; an empty file has none.

    Args:
        tasks: Problems by the names of their tasks.

    Raises:
        BadTraining: If a task has none.
    """
    for task, items in tasks.items():
        if not items:
            raise BadTraining(f"{task} has no problems: name a task that has some")


def _size(conversation: Conversation) -> int:
    """Return the number of bytes of the images and sounds of a conversation."""
    flat = flatten(conversation)
    return sum(len(image.data) for image in flat.images) + sum(
        len(sound.data) for sound in flat.sounds
    )


def check_parts(conversation: Conversation, *, sees: bool = True) -> None:
    """Check that a draft in training takes the parts of a conversation.

    Args:
        conversation: Conversation.
        sees: Whether the draft takes images.

    Raises:
        BadTraining: If not.
    """
    if conversation.tools or any(turn.role == "tool" for turn in conversation.turns):
        raise BadTraining("a draft is not trained on calls of tools: leave these problems out")
    for turn in flatten(conversation).turns:
        for part in turn.parts:
            if isinstance(part, Image) and not sees:
                raise BadTraining(
                    "the problems have images but the draft takes text only: choose another draft "
                    "or task"
                )
            if not isinstance(part, Text | Image):
                raise BadTraining(
                    "a draft in training takes no sound: read videos without their sound "
                    "(sound=False), or record the runs with --transcriber"
                )


def row_of(conversation: Conversation, *, sees: bool) -> dict[str, Any]:
    """Convert a conversation to a row for TRL: messages under 'prompt' and, if `sees`, 'images'.

    Turns of a conversation without images hold plain strings, since not every chat template
    supports lists of parts. Text-only trainers reject a column of images even if it is empty, so it
    is left out.

    Args:
        conversation: Conversation. Pages and frames become text and images.
        sees: Whether the draft takes images.

    Raises:
        BadTraining: If the conversation has parts that the draft does not take.
    """
    check_parts(conversation, sees=sees)
    flat = flatten(conversation)
    has_images = bool(flat.images)
    messages: list[dict[str, Any]] = []
    images = []
    for turn in flat.turns:
        content: list[dict[str, str]] = []
        for part in turn.parts:
            match part:
                case Text(text):
                    content.append({"type": "text", "text": text})
                case Image():
                    content.append({"type": "image"})
                    images.append(to_pillow(part))
        texts = [part["text"] for part in content if part["type"] == "text"]
        # TRL puts all images into the first user turn that is a plain string.
        plain = not has_images or (turn.role != "user" and len(texts) == len(content))
        messages.append({"role": turn.role, "content": "".join(texts) if plain else content})
    return {"prompt": messages, "images": images} if sees else {"prompt": messages}


def training_problems(
    tasks: Sequence[str], each: int, seed: int, plugin: str | None = None
) -> Problems:
    """Load problems from the training splits of tasks.

    Args:
        tasks: Names of the tasks.
        each: Number of problems per task.
        seed: Seed of the selection.
        plugin: Modules to import first, separated by commas; they may register tasks.

    Raises:
        BadOption: If a plugin cannot be imported.
        TaskError: If a task is unknown or its data cannot be loaded.
        BadTraining: If a task has no problems.
    """
    import_plugins(plugin)
    return Problems({task: load(task, limit=each, seed=seed, split="train") for task in tasks})
