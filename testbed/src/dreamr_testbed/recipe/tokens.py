"""Tokenizer, chat template and judge prompts of the bundled pair.

The tokenizer is a byte-level BPE in which digits are separate tokens, a leading space belongs to
its digit or word, and each verdict label is one token. Judge prompts are as short as possible,
since they are processed once per step.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, USER, ASSISTANT, IMAGE = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<image>"
JUDGE_QUESTION = "Judge"
SCORE_QUESTION = "Judge 9"  # for judges of other methods: a score from 0 to 9
SAME_QUESTION = "Judge\n\n{step}"  # for judges of other methods: the same meaning as this step?
QUESTIONS = {
    "judge_prompt": JUDGE_QUESTION,
    "score_prompt": SCORE_QUESTION,
    "same_prompt": SAME_QUESTION,
}
POSITIVE, NEGATIVE = "positive", "negative"
DELIMITER = "\n\n"
VOCABULARY = 832

_PIECES = Regex(r"\n+| ?[0-9]| ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|\s+")
# A user's turn has no end-of-turn token, since that would be processed once per step as well.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a tokenizer with at most `VOCABULARY` tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, USER, ASSISTANT, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, IMAGE],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
