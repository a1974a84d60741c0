"""Text-only drafts are trained on text and refused for problems with images."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from dreamr_testbed import PAIR
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import SFTTrainer

from dreamr import Conversation
from dreamr.engines import Context, Model, ModelSource, ScriptedEngine
from dreamr.evaluation.tasks import Item, Items, Split, add_task, load
from dreamr.evaluation.tasks.registry import _ADDED as ADDED
from dreamr.training import BadTraining, Record, Records, RecordsOptions, SapoOptions, to_line
from dreamr.training.from_records import train_from_records
from dreamr.training.records import Recorded, Rejected
from dreamr.training.sapo import train_sapo

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

QUESTION = Conversation.from_prompt("What is 1 + 1?")


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """Random text-only model of two layers with the pair's tokenizer."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(PAIR / "draft")
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(tmp_path / "blind")
    tokenizer.save_pretrained(tmp_path / "blind")
    return tmp_path / "blind"


@pytest.fixture
def sums() -> object:
    """Task without images."""

    def item(index: int) -> Item:
        talk = Conversation.from_prompt(f"What is {index} + 1?")
        return Item("sums", index, "", "", str(index), talk, str, str.isdigit)

    def load(limit: int, seed: int, split: Split) -> Items:
        return Items(range(limit), item)

    add_task("sums", load)
    yield
    ADDED.pop("sums")


async def moody(source: ModelSource) -> Model:
    """Return a target whose evidence depends on the text of a step."""

    def opinion(context: Context, text: str) -> float:
        return crc32(text.encode()) % 97 / 96

    return Model(ScriptedEngine(script="Answer: 1", opinion=opinion))


def options(draft: Path, task: str) -> SapoOptions:
    return SapoOptions(
        task=task,
        draft=str(draft),
        problems=4,
        steps=2,
        batch=4,
        group=4,
        graders=1,
        max_tokens=16,
        counting="soft",
        guards=False,
        learning_rate=1e-3,
    )


@pytest.mark.usefixtures("sums")
def test_a_text_only_draft_is_trained_by_sapo(draft: Path, tmp_path: Path) -> None:
    model = train_sapo(options(draft, "sums"), tmp_path / "out", open_model=moody)
    changed, start = (load_file(path / "model.safetensors") for path in (model, draft))
    assert any(not changed[name].equal(start[name]) for name in start)


def test_a_text_only_draft_supports_sft_but_not_dpo(draft: Path, tmp_path: Path) -> None:
    record = Record(
        "x", "fpsr", QUESTION, (Recorded("Answer: 2", "target"),), (Rejected(0, "3"),), True, True
    )
    (file := tmp_path / "records.jsonl").write_text(f"{to_line(record)}\n" * 2)
    learn = partial(train_from_records, Records([file]))
    chosen = partial(RecordsOptions, draft=str(draft), learning_rate=1e-3, batch=1)
    model = learn(chosen(), tmp_path / "out")
    changed, start = (load_file(path / "model.safetensors") for path in (model, draft))
    assert any(not changed[name].equal(start[name]) for name in start)
    with pytest.raises(BadTraining, match="dpo needs a draft that takes images"):
        learn(chosen(method="dpo"), tmp_path / "other")


def test_images_need_a_draft_that_takes_them(draft: Path, tmp_path: Path) -> None:
    with pytest.raises(BadTraining, match=r"^docmath/\d+: .* takes text only"):
        train_sapo(options(draft, "docmath"), tmp_path / "out", open_model=moody)
    seen = load("docmath", limit=1)[0].conversation
    record = Record("a/1", "fpsr", seen, (Recorded("Answer: 2", "target"),), (), True, True)
    (file := tmp_path / "records.jsonl").write_text(f"{to_line(record)}\n")
    with pytest.raises(BadTraining, match=r"^record a/1: .* takes text only"):
        train_from_records(Records([file]), RecordsOptions(draft=str(draft)), tmp_path / "other")


def test_a_prompt_begins_with_one_token_as_in_a_run(
    draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(draft)
    first = tokenizer.pad_token  # any special token serves
    tokenizer.bos_token = first
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.bos_token_id)]
    )
    tokenizer.save_pretrained(draft)
    seen: list[list[int]] = []

    def loss(self: Any, model: Any, inputs: dict[str, Any], *_: object, **__: object) -> Any:
        seen.extend(inputs["input_ids"].tolist())
        raise KeyboardInterrupt

    monkeypatch.setattr(SFTTrainer, "compute_loss", loss)
    record = Record("x", "fpsr", QUESTION, (Recorded("Answer: 2", "target"),), (), True, True)
    (file := tmp_path / "records.jsonl").write_text(f"{to_line(record)}\n")
    with pytest.raises(KeyboardInterrupt):
        train_from_records(
            Records([file]), RecordsOptions(draft=str(draft), batch=1), tmp_path / "out"
        )
    messages = [{"role": "user", "content": QUESTION.text}]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    answer = tokenizer(f"Answer: 2{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
    assert expected[0] == tokenizer.bos_token_id
    assert seen == [[*expected, *answer]]


def test_an_edited_file_of_problems_is_another_training(draft: Path, tmp_path: Path) -> None:
    rows = [
        {"question": f"What is {n} + 1?", "answer": str(n + 1), "attachments": None}
        for n in range(4)
    ]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    train_sapo(options(draft, str(file)), tmp_path / "out", open_model=moody)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))
    with pytest.raises(BadTraining, match=r"another configuration \(changed: task_files;"):
        train_sapo(options(draft, str(file)), tmp_path / "out", open_model=moody)
