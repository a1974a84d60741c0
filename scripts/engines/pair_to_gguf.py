"""Write a model of the bundled pair as GGUF files for llama.cpp: the decoder and its image tower.

Usage: pair_to_gguf.py MODEL_FOLDER DECODER.gguf TOWER.gguf
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, TokenType
from safetensors.numpy import load_file

# llama.cpp knows pre-tokenizers by name only. With this one, the pair's merges give its own tokens:
# none of them joins letters, digits, signs or line ends with each other.
PRE_TOKENIZER = "bloom"
DECODER_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOWER_LAYER = {
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
OTHERS = {
    "language_model.model.embed_tokens": "token_embd",
    "language_model.model.norm": "output_norm",
    "multi_modal_projector.linear_1": "mm.0",
    "multi_modal_projector.linear_2": "mm.2",
    "vision_tower.vision_model.embeddings.patch_embedding": "v.patch_embd",
    "vision_tower.vision_model.embeddings.position_embedding": "v.position_embd",
}
LAYERS = (
    ("language_model.model.layers.", "blk.", DECODER_LAYER),
    ("vision_tower.vision_model.encoder.layers.", "v.blk.", TOWER_LAYER),
)


def renamed(name: str) -> str | None:
    """Return llama.cpp's name of a weight, None for the norm that LLaVA does not use."""
    module, _, kind = name.rpartition(".")
    if module in OTHERS:
        return f"{OTHERS[module]}.{kind}"
    for beginning, theirs, names in LAYERS:
        if module.startswith(beginning):
            number, _, part = module.removeprefix(beginning).partition(".")
            return f"{theirs}{number}.{names[part]}.{kind}"
    if module.endswith("post_layernorm"):
        return None
    raise ValueError(f"no place for {name}")


def add_tensors(writer: GGUFWriter, weights: dict[str, Any], *, tower: bool) -> None:
    """Add the weights of one file, in float32."""
    for name, values in sorted(weights.items()):
        wanted = renamed(name)
        if wanted is not None and wanted.startswith(("v.", "mm.")) is tower:
            writer.add_tensor(wanted, np.ascontiguousarray(values, np.float32))


def add_tokenizer(writer: GGUFWriter, folder: Path) -> None:
    """Add vocabulary, merges, special tokens and the chat template."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    model, added = tokenizer["model"], {one["content"] for one in tokenizer["added_tokens"]}
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if token in added else TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    special = json.loads((folder / "tokenizer_config.json").read_text())
    writer.add_eos_token_id(model["vocab"][special["eos_token"]])
    writer.add_pad_token_id(model["vocab"][special["pad_token"]])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())


def write_decoder(folder: Path, config: Any, weights: dict[str, Any], path: Path) -> None:
    """Write the Qwen3 decoder."""
    writer, text = GGUFWriter(path, "qwen3"), config["text_config"]
    writer.add_name(folder.name)
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_vocab_size(text["vocab_size"])
    add_tokenizer(writer, folder)
    add_tensors(writer, weights, tower=False)
    close(writer)


def write_tower(folder: Path, config: Any, weights: dict[str, Any], path: Path) -> None:
    """Write the SigLIP tower and the projector."""
    writer, vision = GGUFWriter(path, "clip"), config["vision_config"]
    image = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_uint32("clip.vision.image_size", vision["image_size"])
    writer.add_uint32("clip.vision.patch_size", vision["patch_size"])
    writer.add_uint32("clip.vision.embedding_length", vision["hidden_size"])
    writer.add_uint32("clip.vision.feed_forward_length", vision["intermediate_size"])
    writer.add_uint32("clip.vision.projection_dim", config["text_config"]["hidden_size"])
    writer.add_uint32("clip.vision.block_count", vision["num_hidden_layers"])
    writer.add_uint32("clip.vision.attention.head_count", vision["num_attention_heads"])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.feature_layer", [vision["num_hidden_layers"]])
    writer.add_array("clip.vision.image_mean", image["image_mean"])
    writer.add_array("clip.vision.image_std", image["image_std"])
    add_tensors(writer, weights, tower=True)
    close(writer)


def close(writer: GGUFWriter) -> None:
    """Write what was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Convert one model."""
    folder, decoder, tower = (Path(argument) for argument in sys.argv[1:])
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    write_decoder(folder, config, weights, decoder)
    write_tower(folder, config, weights, tower)


if __name__ == "__main__":
    main()
