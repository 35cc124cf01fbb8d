#!/usr/bin/env python3
"""Writes chat.json: conversations as the models' own templates render them (Jinja as transformers sets it up), and the
ids of a one-turn prompt as llama.cpp has them.

make_chat.py golden.json > chat.json   golden.json: chat_template and the prompt "chat" of each model; needs jinja2
"""
import json
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
TURNS = [
    {"role": "system", "content": "SYSTEM"},
    {"role": "user", "content": "\n\n  What does `main` do?\n"},
    {"role": "assistant", "content": "It calls run()."},
    {"role": "user", "content": "Why? 12  x"},
]


def render(template, bos):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        messages=TURNS, add_generation_prompt=True, bos_token=bos, tools=None
    )


golden = json.load(open(sys.argv[1]))
out = {"llama3": {"template": LLAMA3, "rendered": render(LLAMA3, "<|begin_of_text|>")}}
for name, model in golden.items():
    prompt = next(p for p in model["prompts"] if p["name"] == "chat")
    out[name] = {
        "model": model["model"],
        "template": model["chat_template"],
        "rendered": render(model["chat_template"], ""),
        "prompt": prompt["text"],
        "ids": prompt["ids"],
    }
json.dump(out, sys.stdout, indent=1, ensure_ascii=False)
print()
