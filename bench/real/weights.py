#!/usr/bin/env python3
"""Makes a copy of the CPU rig's model with weights under which the whole context decides what comes next.

    RIG_PYTHON bench/real/weights.py FOLDER [--any-token]         RIG_PYTHON: the rig's own, which has numpy and tokenizers
    RIG_MODEL=FOLDER RIG_EXTRA="--load-format safetensors --dtype float32" cpu/rig.sh start ...

With `--load-format dummy` norms and projections are so small that an answer depends on the last token alone: a stream that
went on from the wrong KV would say the same. Here attention has a say. Answers are of whole words, whose text is read as the
same tokens again, as nearly all text of a trained model is; with --any-token of any token, whose text seldom is.
"""

import argparse
import json
import os
import pathlib
import shutil
import struct

import numpy
from tokenizers import Tokenizer

SEED = 11
# Norms are 1 and every matrix keeps the size of what it is given; scores of attention are spread by 2, so that it picks.
SPREAD = 2.0


def tensors(config, allowed, dice):
    """Names and values, as Hugging Face's Qwen2 has them."""
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def matrix(rows, columns, spread=1.0):
        return (dice.standard_normal((rows, columns)) * spread / numpy.sqrt(columns)).astype(numpy.float32)

    def vector(size, value):
        return numpy.full(size, value, numpy.float32)

    yield "model.embed_tokens.weight", dice.standard_normal((config["vocab_size"], hidden)).astype(numpy.float32)
    for layer in range(layers):
        at = f"model.layers.{layer}"
        for name, count, spread in (("q", heads, SPREAD), ("k", kv_heads, 1.0), ("v", kv_heads, SPREAD)):
            yield f"{at}.self_attn.{name}_proj.weight", matrix(count * width, hidden, spread)
            yield f"{at}.self_attn.{name}_proj.bias", vector(count * width, 0)
        yield f"{at}.self_attn.o_proj.weight", matrix(hidden, heads * width, SPREAD)
        yield f"{at}.mlp.gate_proj.weight", matrix(inner, hidden)
        yield f"{at}.mlp.up_proj.weight", matrix(inner, hidden)
        yield f"{at}.mlp.down_proj.weight", matrix(hidden, inner, SPREAD)
        yield f"{at}.input_layernorm.weight", vector(hidden, 1)
        yield f"{at}.post_attention_layernorm.weight", vector(hidden, 1)
    yield "model.norm.weight", vector(hidden, 1)
    head = matrix(config["vocab_size"], hidden, 8.0)
    # What is not allowed has a logit of nought, which never is the greatest.
    head[~allowed] = 0
    yield "lm_head.weight", head


def whole_words(tokenizer, size):
    """Tokens of a space and letters that are read as themselves wherever they stand."""
    allowed = numpy.zeros(size, bool)
    for text, number in tokenizer.get_vocab().items():
        if text.startswith("Ġ") and text[1:].isascii() and text[1:].isalpha():
            word = tokenizer.decode([number])
            allowed[number] = tokenizer.encode(" one" + word + " two").ids[1:-1] == [number]
    return allowed


def write(path, named):
    """A safetensors file: the length of the header, the header, the values."""
    header, at, values = {}, 0, []
    for name, value in named:
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
        values.append(value)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for value in values:
            out.write(value.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--any-token", action="store_true")
    args = parser.parse_args()
    source = pathlib.Path(os.environ["SGLANG_RIG"]) / "cpu/model-tiny"
    args.folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        shutil.copyfile(path, args.folder / path.name)
    config = json.loads((source / "config.json").read_text())
    config |= {"tie_word_embeddings": False, "dtype": "float32", "torch_dtype": "float32"}
    (args.folder / "config.json").write_text(json.dumps(config, indent=1))
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    size = config["vocab_size"]
    # Special tokens are never said: a stream ends by its length.
    allowed = numpy.arange(size) < tokenizer.get_vocab_size() - 3 if args.any_token else whole_words(tokenizer, size)
    write(args.folder / "model.safetensors", tensors(config, allowed, numpy.random.default_rng(SEED)))
    print(f"{args.folder}: answers of {int(allowed.sum())} tokens")


if __name__ == "__main__":
    main()
