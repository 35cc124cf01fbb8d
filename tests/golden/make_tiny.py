#!/usr/bin/env python3
"""Tiny random models with the logits that PyPI's transformers computes for them: tests/golden/tiny/.

    python3 -m venv DIR && DIR/bin/pip install numpy torch transformers gguf
    DIR/bin/python tests/golden/make_tiny.py tests/golden/tiny

Weights are random but scaled so that attention is uneven and logits are of the order of 1. The models are converted as
llama.cpp's converter does it: q and k of llama are reordered for interleaved rotation, llama3's scaling becomes the tensor
rope_freqs.weight. transformers computes in double (its rotation and norms in float); keys and values are rounded to f16
as they enter its cache, since a page of keys and values is f16. A seed is of use when no key lies so near the middle
between two f16 values that float and double round it to different ones; the test shows that at once (1e-4 instead of 1e-6).
"""
import json
import math
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

WIDTH, FEED_FORWARD, LAYERS = 32, 48, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|file_sep|>"]
MERGES = ["t h", "th e", "i n", "r e", "e r", "o n", "Ġ t", "Ġ a", "Ġt he", "in t", "re t", "u r"]
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def byte_tokens():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + other.index(b)) for b in range(256)]


TOKENS = byte_tokens() + [m.replace(" ", "") for m in MERGES] + SPECIAL


class F16Cache(DynamicCache):
    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        def rounded(x):
            return x.to(torch.float16).to(x.dtype)
        return super().update(rounded(key_states), rounded(value_states), layer_idx, *args, **kwargs)


def randomise(model, seed, half):
    random = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=random, dtype=torch.float64)
        if name.endswith("norm.weight"):
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif "embed" in name:
            value = 0.4 * noise
        else:
            value = (1.6 if "q_proj" in name or "k_proj" in name else 1.0) * noise / math.sqrt(p.shape[1])
        p.data = value.to(torch.float16 if half and p.dim() == 2 else torch.float32).to(torch.float64)


def logits_of(model, ids):
    """One token after the other, so that every key and value is looked at as the cache holds it."""
    cache, rows = F16Cache(), []
    with torch.no_grad():
        for i, id in enumerate(ids):
            out = model(input_ids=torch.tensor([[id]]), past_key_values=cache, use_cache=True, cache_position=torch.tensor([i]))
            rows.append(out.logits[0, -1])
    return torch.stack(rows).numpy()


def interleaved(weight, heads):
    """Rows of each head from halves (0, n/2), (1, n/2 + 1), ... to pairs (0, 1), (2, 3), ..."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama3_divisors(config):
    scaling, dims = config.rope_parameters, config.head_dim
    length = scaling["original_max_position_embeddings"]
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    divisors = []
    for j in range(dims // 2):
        wave = 2 * math.pi * scaling["rope_theta"] ** (2 * j / dims)
        smooth = (length / wave - low) / (high - low)
        divisors.append(1 if wave < length / high else factor if wave > length / low else 1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


def write_tokenizer(writer, pre):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(TOKENS.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write_metadata(writer, name, config):
    scaling = config.rope_parameters
    writer.add_name(f"tiny {name}")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(scaling["rope_theta"])
    if config.model_type == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.model_type == "llama":
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_vocab_size(config.vocab_size)
    if scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def write_tensors(writer, model, config, half):
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, config.model_type.upper()), config.num_hidden_layers)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    for name, p in model.named_parameters():
        weight = p.detach().numpy()
        if config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
            weight = interleaved(weight, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        weight = weight.astype(np.float16 if half and weight.ndim == 2 else np.float32)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(weight))


def make(folder, name, seed, model_class, config, pre, count, half=False):
    config._attn_implementation = "eager"
    model = model_class(config).to(torch.float64).eval()
    randomise(model, seed, half)
    ids = np.random.default_rng(seed).integers(0, len(TOKENS), count).tolist()
    rows = logits_of(model, ids)
    assert 0.7 < rows.std() < 4, rows.std()
    positions = [0, 1, 33, count - 1]
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", config.model_type)
    write_metadata(writer, name, config)
    write_tokenizer(writer, pre)
    write_tensors(writer, model, config, half)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    golden = {
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, gguf as of PyPI",
        "ids": ids,
        "rows": [{"position": p, "logits": [float(f"{x:.7g}") for x in rows[p]]} for p in positions],
    }
    (folder / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, (folder / f"{name}.gguf").stat().st_size, "bytes, logits' deviation", round(float(rows.std()), 2))


def main():
    folder = pathlib.Path(sys.argv[1])
    common = dict(vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_hidden_layers=LAYERS,
                  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=False)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    llama = dict(common, head_dim=8)
    make(folder, "llama", 1, LlamaForCausalLM, LlamaConfig(**llama, rope_parameters=plain), "gpt-2", 64)
    make(folder, "llama-f16", 2, LlamaForCausalLM, LlamaConfig(**llama, rope_parameters=plain), "llama-bpe", 64, half=True)
    make(folder, "llama-llama3", 23, LlamaForCausalLM, LlamaConfig(**llama, rope_parameters={
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}), "llama-bpe", 128)
    make(folder, "llama-linear", 4, LlamaForCausalLM, LlamaConfig(**llama, attention_bias=True, mlp_bias=True, rope_parameters={
        "rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}), "smollm", 64)
    qwen2 = dict(common, tie_word_embeddings=True, use_sliding_window=False)
    make(folder, "qwen2", 5, Qwen2ForCausalLM, Qwen2Config(**qwen2, rope_parameters=dict(plain, rope_theta=1000000.0)), "qwen2", 64)
    make(folder, "qwen2-yarn", 6, Qwen2ForCausalLM, Qwen2Config(**dict(qwen2, max_position_embeddings=32), rope_parameters={
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}), "qwen2", 128)
    make(folder, "qwen3", 7, Qwen3ForCausalLM, Qwen3Config(**dict(common, num_attention_heads=3, num_key_value_heads=1, head_dim=16,
         use_sliding_window=False), rope_parameters=dict(plain, rope_theta=1000000.0)), "qwen2", 64)


main()
