"""Greedy streams of a fixed length, read event by event, and how two of them differ.

Weights are random, so that the two likeliest tokens are often nearly equal, and another batch or recomputed KV may turn their
order: whoever compares answers has to know how far an answer is the same when nothing happens. Standard library only.
"""

import http.client
import json
import random
import threading
import time

from router import call

TIMEOUT_S = 120
WORDS = "router worker prefill decode token cache queue stream batch split model answer prompt letter number reason".split()
USAGE = {"stream_options": {"include_usage": True}}
# How much less likely than the likeliest token another may be to count as nearly as likely: in float32 recomputed KV moves a
# log probability by 1e-6 or so, in bfloat16 by 1e-2.
NEAR = 0.02


def requests(model, tokens, copies):
    """(kind, path, body) of streams of exactly so many tokens, each with a prompt of its own."""
    dice, found = random.Random(7), []
    sampling = {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}
    openai = {"model": model, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, **USAGE}
    for _ in range(copies):
        text = " ".join(dice.choice(WORDS) for _ in range(24))
        ids = [dice.randrange(100, 16000) for _ in range(48)]
        found += [
            ("generate, text", "/generate", {"text": text, "sampling_params": sampling, "stream": True}),
            ("generate, ids", "/generate", {"input_ids": ids, "sampling_params": sampling, "stream": True}),
            ("completions", "/v1/completions", openai | {"prompt": text}),
            ("completions, ids", "/v1/completions", openai | {"prompt": ids}),
            ("chat", "/v1/chat/completions", openai | {"messages": [{"role": "user", "content": text}]}),
        ]
    return found


def length(request):
    """The tokens of a request's answer."""
    _, _, body = request
    return body.get("max_tokens") or body["sampling_params"]["max_new_tokens"]


class Stream(threading.Thread):
    """One request and what came of it, read as it comes."""

    def __init__(self, port, kind, path, body):
        super().__init__(daemon=True)
        self.port, self.kind, self.path, self.body = port, kind, path, body
        self.status, self.text, self.ids, self.usage, self.finish = 0, "", None, None, None
        self.done, self.error, self.tokens, self.gap_ms, self.gap_at = False, None, 0, 0.0, 0
        self.began = self.last = time.monotonic()
        self.events = 0

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self.path, json.dumps(self.body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.status = answer.status
            if answer.status != 200:
                self.error = answer.read().decode(errors="replace")[:300]
                return
            for line in answer:
                if line.startswith(b"data: "):
                    self.event(line[6:].strip())
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self.error = self.error or repr(problem)
        finally:
            connection.close()

    def event(self, data):
        if data == b"[DONE]":
            self.done = True
            return
        event, now = json.loads(data), time.monotonic()
        self.events += 1
        if "error" in event:
            self.error = json.dumps(event["error"])[:300]
            return
        before = self.tokens
        if "meta_info" in event:
            meta = event["meta_info"]
            self.text, self.ids, self.tokens = event["text"], event.get("output_ids"), meta["completion_tokens"]
            self.finish = meta.get("finish_reason") or self.finish
            self.usage = {"prompt_tokens": meta["prompt_tokens"], "completion_tokens": meta["completion_tokens"]}
        else:
            for choice in event.get("choices", []):
                piece = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
                self.text += piece
                # A piece is a token or more: good enough to know how far a stream is.
                self.tokens += bool(piece)
                self.finish = choice.get("finish_reason") or self.finish
            if event.get("usage"):
                self.usage = {key: event["usage"].get(key) for key in ("prompt_tokens", "completion_tokens")}
        if before and self.tokens > before:
            gap = 1e3 * (now - self.last)
            if gap > self.gap_ms:
                self.gap_ms, self.gap_at = gap, before
        if self.tokens > before:
            self.last = now

    def whole(self):
        return self.status == 200 and self.done and self.error is None


def together(port, requests):
    """All at once, started and not waited for."""
    streams = [Stream(port, *request) for request in requests]
    for stream in streams:
        stream.start()
    return streams


def wait(streams):
    for stream in streams:
        stream.join(TIMEOUT_S + 10)
    return streams


def alone(port, requests):
    """One after another."""
    return [wait(together(port, [request]))[0] for request in requests]


def direct(rig, prefill, decode, name, request):
    """A request to this pair, without a router: the answer is decode's. None where the prefill worker refused it."""
    kind, path, body = request
    body = body | {"bootstrap_host": name, "bootstrap_port": rig.bootstrap(prefill), "bootstrap_room": random.getrandbits(62)}
    legs = [Stream(port, kind, path, body) for port in (prefill, decode)]
    for leg in legs:
        leg.start()
    wait(legs)
    return legs[1]


def difference(one, other):
    """Where two streams of the same request differ: nothing, or what it is about and at which place."""
    if one.ids is not None and other.ids is not None and one.ids != other.ids:
        return {"first_token": place(one.ids, other.ids), "tokens": [len(one.ids), len(other.ids)]}
    if one.text != other.text:
        return {"first_char": place(one.text, other.text), "chars": [len(one.text), len(other.text)]}
    if one.usage != other.usage:
        return {"usage": [one.usage, other.usage]}
    if one.finish != other.finish:
        return {"finish": [one.finish, other.finish]}
    return None


def place(one, other):
    """The index of the first difference; the shorter's length where it is the beginning of the longer."""
    return next((index for index, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def prompt_ids(port, stream):
    """The token ids of a prompt, as this worker's tokenizer has them; None where a template writes the prompt."""
    body = stream.body
    if "messages" in body:
        return None
    prompt = body.get("input_ids") or body.get("prompt") or body.get("text")
    if isinstance(prompt, list):
        return prompt
    return tokenize(port, prompt)


def tokenize(port, text, **more):
    """As this worker's tokenizer has it; None where it has none, as a simulated worker."""
    status, answer = call(port, "POST", "/v1/tokenize", {"prompt": text, **more})
    return answer["tokens"] if status == 200 else None


def near_tie(port, worker, stream, other, at):
    """How much less likely the token `other` has at a place is than the one of `stream`, asked of the engine anew with what
    was before it as a prompt: {"margin": ...} in nats, and whether the two are nearly as likely."""
    prompt = prompt_ids(worker, stream)
    if prompt is None or stream.ids is None or at >= min(len(stream.ids), len(other.ids)):
        return None
    body = {"input_ids": prompt + stream.ids[:at], "return_logprob": True, "top_logprobs_num": 20}
    body["sampling_params"] = {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}
    status, answer = call(port, "POST", "/generate", body, timeout=TIMEOUT_S)
    if status != 200:
        return {"error": str(answer)[:200]}
    likely = {token: logprob for logprob, token, *_ in answer["meta_info"]["output_top_logprobs"][0]}
    pair = [likely.get(one.ids[at]) for one in (stream, other)]
    if None in pair:
        return {"margin": None, "near": False, "twentieth": round(max(likely.values()) - min(likely.values()), 5)}
    return {"margin": round(abs(pair[0] - pair[1]), 6), "near": abs(pair[0] - pair[1]) <= NEAR}


def read_anew(worker, stream, tokens):
    """Whether the text of a stream's first tokens is read as the same tokens again, where it goes on from its text."""
    status, answer = call(worker, "POST", "/v1/detokenize", {"tokens": stream.ids[:tokens]})
    again = tokenize(worker, answer["text"], add_special_tokens=False) if status == 200 else None
    return {"tokens": tokens, "read_as": again and len(again), "same": again == stream.ids[:tokens]}
