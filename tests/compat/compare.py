"""Sends the same requests through this router and through sglang_router 0.3.2, and says where the answers differ.

Both stand in front of the same simulated workers, whose text is a function of the prompt, so text must be equal. Of
everything else the shape is compared: which keys there are and of which type. Values such as ids, times and counters
differ between any two answers of one router.

A difference is accepted only if INTENDED names it with a reason; the same list is told to users in
docs/compatibility.md. Exit code 1: a difference that nobody intended, or a reason that has become untrue.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import openai

MODEL = "simulated"
# Longer than any answer here may take; a router that hangs shows as a difference and not as a hung run.
TIMEOUT_S = 30


# ---- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What is compared of one answer."""

    status: str
    content_type: str = "-"
    shape: frozenset[str] = frozenset()
    text: str = ""
    # Of a stream: whether it ended with [DONE].
    done: str = "-"
    # Of an error that a router made.
    code: str = "-"

    def differences(self, other: Answer) -> set[str]:
        return {name for name in self.__dataclass_fields__ if getattr(self, name) != getattr(other, name)}

    def summary(self) -> str:
        kind = self.content_type.removeprefix("application/").removeprefix("text/")
        end = {"yes": " [DONE]", "no": " no [DONE]", "-": ""}[self.done]
        code = "" if self.code == "-" else f" {self.code}"
        return f"{self.status} {kind}, {len(self.shape)} keys{end}{code}"


def paths(value: Any, at: str = "") -> Iterator[str]:
    """`choices[].index:number` for every leaf; the members of a list are one."""
    if isinstance(value, dict):
        if not value:
            yield f"{at}:object"
        for key, member in value.items():
            yield from paths(member, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        if not value:
            yield f"{at}[]"
        for member in value:
            yield from paths(member, f"{at}[]")
    else:
        kinds = {bool: "bool", int: "number", float: "number", str: "string", type(None): "null"}
        yield f"{at}:{kinds[type(value)]}"


def texts(value: Any) -> dict[int, str]:
    """Generated text by choice, from a whole answer or from one event of a stream, of any endpoint."""
    if isinstance(value, list):
        return {index: text for index, one in enumerate(value) for text in texts(one).values()}
    if not isinstance(value, dict):
        return {}
    if "choices" in value:
        found = {}
        for choice in value["choices"]:
            message = choice.get("message") or choice.get("delta") or {}
            found[choice["index"]] = choice.get("text") or message.get("content") or ""
        return found
    if "text" in value:
        return {value.get("index") or 0: value["text"]}
    return {}


def error_code(value: Any) -> str:
    error = value.get("error") if isinstance(value, dict) else None
    return str(error.get("code", "-")) if isinstance(error, dict) else "-"


def read_stream(body: bytes) -> tuple[list[Any], bool]:
    """The JSON of every event, and whether [DONE] came last."""
    events = [event for event in body.decode().split("\n\n") if event.strip()]
    payloads = [event.removeprefix("data:").strip() for event in events]
    done = bool(payloads) and payloads[-1] == "[DONE]"
    parsed = []
    for payload in payloads[:-1] if done else payloads:
        try:
            parsed.append(json.loads(payload))
        except ValueError:
            parsed.append({"not JSON": payload})
    return parsed, done


def stream_text(events: list[Any]) -> str:
    """OpenAI's events carry pieces; /generate's carry all the text so far."""
    so_far: dict[int, str] = {}
    for event in events:
        for index, text in texts(event).items():
            so_far[index] = so_far.get(index, "") + text if "choices" in event else text
    return repr(sorted(so_far.items()))


def answer_of(status: int, content_type: str, body: bytes) -> Answer:
    content_type = content_type.split(";")[0] or "none"
    if content_type == "text/event-stream":
        events, done = read_stream(body)
        shape = frozenset(path for event in events for path in paths(event))
        return Answer(str(status), content_type, shape, stream_text(events), "yes" if done else "no")
    try:
        value = json.loads(body)
    except ValueError:
        # Words for people: not compared, but that there are any is.
        return Answer(str(status), content_type, frozenset({"text"} if body else ()))
    text = repr(sorted(texts(value).items()))
    return Answer(str(status), content_type, frozenset(paths(value)), text, code=error_code(value))


# ---- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Router:
    url: str

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        address = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, {"content-type": "application/json"} | (headers or {}))
            response = connection.getresponse()
            return answer_of(response.status, response.headers.get("content-type", ""), response.read())
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            return Answer(f"broken: {type(error).__name__}")
        finally:
            connection.close()

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S)


@dataclass(frozen=True)
class Case:
    name: str
    ask: Callable[[Router], Answer]


def raw(method: str, path: str, body: Any = None, name: str | None = None) -> Case:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name or f"{method} {path}", lambda router: router.send(method, path, data))


def with_client(name: str, call: Callable[[openai.OpenAI], Any]) -> Case:
    """A call of the official client: what it returns, or the error that it raises."""

    def ask(router: Router) -> Answer:
        try:
            result = call(router.client())
            if isinstance(result, openai.Stream):
                events = [event.model_dump(mode="json", exclude_unset=True) for event in result]
                shape = frozenset(path for event in events for path in paths(event))
                return Answer("200", "stream", shape, stream_text(events))
            value = result.model_dump(mode="json", exclude_unset=True)
            return Answer("200", "object", frozenset(paths(value)), repr(sorted(texts(value).items())))
        except openai.APIStatusError as error:
            return Answer(str(error.status_code), type(error).__name__)
        except openai.OpenAIError as error:
            return Answer("broken", type(error).__name__)

    return Case(f"openai: {name}", ask)


MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "What is a router?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
# Short enough that the text rarely holds the bytes `data: [DONE]`, at which the peer cuts a stream.
SHORT = 8


def chat(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": SHORT, "temperature": 0} | more


def completion(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "A router is", "max_tokens": SHORT, "temperature": 0} | more


def generate(**more: Any) -> dict[str, Any]:
    return {"sampling_params": {"max_new_tokens": SHORT, "temperature": 0}} | more


def client_cases() -> list[Case]:
    usage = {"include_usage": True}
    return [
        with_client("chat", lambda c: c.chat.completions.create(**chat())),
        with_client("chat, streamed", lambda c: c.chat.completions.create(**chat(stream=True))),
        with_client(
            "chat, streamed with usage",
            lambda c: c.chat.completions.create(**chat(stream=True, stream_options=usage)),
        ),
        with_client("chat with tools", lambda c: c.chat.completions.create(**chat(tools=TOOLS))),
        with_client("chat with tools, streamed", lambda c: c.chat.completions.create(**chat(tools=TOOLS, stream=True))),
        with_client("chat, unknown model", lambda c: c.chat.completions.create(**chat(model="no-such-model"))),
        with_client("completions", lambda c: c.completions.create(**completion())),
        with_client("completions, streamed", lambda c: c.completions.create(**completion(stream=True))),
        with_client(
            "completions, streamed with usage",
            lambda c: c.completions.create(**completion(stream=True, stream_options=usage)),
        ),
        with_client("completions, token ids", lambda c: c.completions.create(**completion(prompt=[1, 2, 3]))),
        with_client("embeddings", lambda c: c.embeddings.create(model=MODEL, input="x", encoding_format="float")),
        with_client("models", lambda c: c.models.list()),
    ]


def inference_cases() -> list[Case]:
    c, t, g = "/v1/chat/completions", "/v1/completions", "/generate"
    return [
        raw("POST", c, chat(), "chat"),
        raw("POST", c, chat(stream=True), "chat, streamed"),
        raw("POST", c, chat(stream=True, stream_options={"include_usage": True}), "chat, streamed with usage"),
        raw("POST", c, chat(tools=TOOLS, tool_choice="auto"), "chat with tools"),
        raw("POST", c, chat(n=2), "chat, n=2"),
        raw("POST", c, chat(n=2, stream=True), "chat, n=2, streamed"),
        raw("POST", c, chat(logprobs=True, top_logprobs=1), "chat with logprobs"),
        raw("POST", c, chat(chat_template_kwargs={"thinking": False}), "chat, field the peer drops"),
        raw("POST", c, chat(model="no-such-model"), "chat, unknown model"),
        raw("POST", c, {"model": MODEL}, "chat without messages"),
        raw("POST", c, {"messages": MESSAGES, "max_tokens": SHORT}, "chat without model"),
        raw("POST", c, chat(temperature=9), "chat, temperature out of range"),
        raw("POST", c, b'{"model":', "chat, malformed body"),
        raw("POST", c, b"", "chat, empty body"),
        raw("POST", c, b"[]", "chat, body is a list"),
        raw("POST", t, completion(), "completions"),
        raw("POST", t, completion(n=2), "completions, n=2"),
        raw("POST", t, completion(stream=True), "completions, streamed"),
        raw("POST", t, completion(stream=True, stream_options={"include_usage": True}), "completions, streamed with usage"),
        raw("POST", t, completion(prompt=["One", "Two"]), "completions, two prompts"),
        raw("POST", t, completion(prompt=["One", "Two"], stream=True), "completions, two prompts, streamed"),
        raw("POST", t, completion(prompt=[1, 2, 3]), "completions, token ids"),
        raw("POST", t, completion(prompt=[[1, 2], [3, 4]]), "completions, lists of token ids"),
        raw("POST", t, completion(logprobs=1), "completions with logprobs"),
        raw("POST", t, {"prompt": "A router is", "max_tokens": SHORT}, "completions without model"),
        raw("POST", t, {"model": MODEL}, "completions without prompt"),
        raw("POST", t, b"{'model': 1}", "completions, malformed body"),
        raw("POST", g, generate(text="A router is"), "generate"),
        raw("POST", g, generate(text="A router is", stream=True), "generate, streamed"),
        raw("POST", g, generate(text=["One", "Two"]), "generate, list of texts"),
        raw("POST", g, generate(input_ids=[1, 2, 3]), "generate, token ids"),
        raw("POST", g, generate(input_ids=[[1, 2], [3, 4]]), "generate, lists of token ids"),
        raw("POST", g, generate(input_ids=[[1, 2]], stream=True), "generate, list of one, streamed"),
        raw("POST", g, generate(text="A", return_logprob=True, logprob_start_len=0), "generate with logprobs"),
        raw("POST", g, generate(text="A", bootstrap_room=5_000_000_000), "generate, client's own large room"),
        raw("POST", g, {}, "generate without prompt"),
        raw("POST", g, b"nonsense", "generate, malformed body"),
        raw("POST", "/v1/rerank", {"model": MODEL, "query": "a", "documents": ["b", "c"]}),
        raw("POST", "/rerank", {"model": MODEL, "query": "a", "documents": ["b", "c"]}),
        raw("POST", "/v1/embeddings", {"model": MODEL, "input": "x"}),
        raw("POST", "/v1/classify", {"model": MODEL, "input": "x"}),
        raw("POST", "/v1/score", {"model": MODEL, "query": "x", "items": ["y"], "label_token_ids": [1]}),
        raw("POST", "/v1/responses", {"model": MODEL, "input": "x"}),
    ]


def admin_cases(worker: str) -> list[Case]:
    gets = [
        "/liveness", "/health", "/readiness", "/health_generate", "/engine_metrics", "/v1/models", "/model_info",
        "/get_model_info", "/server_info", "/get_server_info", "/v1/loads", "/get_loads", "/workers",
        "/workers/not-an-id", "/workers/00000000-0000-4000-8000-000000000000", "/list_workers", "/no/such/route",
    ]  # fmt: skip
    return [
        *(raw("GET", path) for path in gets),
        raw("POST", "/no/such/route", {}),
        raw("GET", "/v1/chat/completions"),
        raw("POST", "/flush_cache"),
        raw("POST", "/workers", {"worker_type": "decode"}, "POST /workers without url"),
        raw("POST", "/workers", {"url": worker, "worker_type": "prefill"}, "POST /workers, known already"),
        raw("DELETE", "/workers/not-an-id"),
    ]


def text_of(router: Router, words: str, length: int) -> str:
    body = generate(text=words, sampling_params={"max_new_tokens": length})
    return router.send("POST", "/generate", json.dumps(body).encode()).text


def done_in_text_case(ours: Router) -> Case:
    """A stream whose text holds the bytes that end streams: looked for, as the text is the workers' choice."""
    length = 64
    for number in range(500):
        words = f"Prompt {number}"
        if "data: [DONE]" in text_of(ours, words, length):
            body = completion(prompt=words, max_tokens=length, stream=True)
            return raw("POST", "/v1/completions", body, "completions, streamed, [DONE] in the text")
    sys.exit("no prompt of 500 has [DONE] in its answer: has the simulated worker lost its hostile text?")


# ---- what may differ -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Intended:
    """`differs` names the fields of Answer that may differ."""

    why: str
    differs: set[str] = field(default_factory=set)


ERROR = {"status", "content_type", "shape", "text", "code"}
NEW_NAME = Intended("SGLang's current name of the endpoint; the peer knows only the older one", ERROR)
JUDGED_BY_WORKER = Intended("the worker judges the request, in SGLang's words; the peer's own types refuse it", ERROR)
OWN_CODE = Intended("one error code at every endpoint for a body that can't be routed", {"code"})
NOT_JSON = Intended("a JSON error like every other, where the peer answers in text", {"content_type", "shape", "code", "text"})
PASSED_ON = Intended("reaches the worker as sent; the peer's types refuse it", ERROR)
# SGLang's pairs hand one sample of a prompt to decode, and whoever waits for the others waits for ever.
REFUSED_AT_ONCE = Intended("400 at once, where the peer waits for what its workers never say", {*ERROR, "done"})
ANSWERED = Intended("asked for as several prompts; the peer waits for what its workers never say", {*ERROR, "done"})
STAYS_JSON = Intended("an answer with logprobs stays JSON; the peer calls it an octet-stream", {"content_type"})
NOT_ON_PAIRS = Intended("501 as a JSON error, where the peer answers in text", {"content_type", "shape", "code", "text"})

INTENDED: dict[str, Intended] = {
    "GET /server_info": NEW_NAME,
    "GET /model_info": NEW_NAME,
    "GET /v1/loads": NEW_NAME,
    "chat without messages": JUDGED_BY_WORKER,
    "chat, temperature out of range": JUDGED_BY_WORKER,
    "completions without model": JUDGED_BY_WORKER,
    "completions without prompt": JUDGED_BY_WORKER,
    "chat, malformed body": OWN_CODE,
    "chat, empty body": OWN_CODE,
    "chat, body is a list": OWN_CODE,
    "completions, malformed body": NOT_JSON,
    "generate, malformed body": NOT_JSON,
    "generate, list of texts": PASSED_ON,
    "generate, client's own large room": PASSED_ON,
    "completions, token ids": PASSED_ON,
    "completions, lists of token ids": PASSED_ON,
    "openai: completions, token ids": PASSED_ON,
    "chat, n=2": REFUSED_AT_ONCE,
    "chat, n=2, streamed": REFUSED_AT_ONCE,
    "completions, n=2": ANSWERED,
    "chat with logprobs": STAYS_JSON,
    "completions with logprobs": STAYS_JSON,
    "generate with logprobs": STAYS_JSON,
    "completions, streamed, [DONE] in the text": Intended(
        "text is text; the peer ends the stream where the text says [DONE]", {"text", "done", "shape"}
    ),
    "POST /v1/embeddings": NOT_ON_PAIRS,
    "POST /v1/classify": NOT_ON_PAIRS,
    "POST /v1/responses": NOT_ON_PAIRS,
    "POST /v1/score": Intended("501 like the other endpoints that don't run on pairs; the peer doesn't know it", ERROR),
    "GET /v1/models": Intended(
        "the workers' own list, as JSON; the peer makes up a shorter one and calls it text", {"content_type", "shape"}
    ),
    "openai: models": Intended("the workers' own list; the peer makes up a shorter one", {"shape"}),
    "GET /get_server_info": Intended(
        "JSON with the peer's keys and those that SGLang's bench clients read", {"shape", "content_type"}
    ),
    "GET /workers": Intended("also says the state and the breaker of each worker", {"shape"}),
    "POST /workers, known already": Intended("409 at once; the peer accepts, and its job fails later", ERROR),
}


# ---- the run ---------------------------------------------------------------------------------------------------------


def await_ready(router: Router, name: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = router.send("GET", "/readiness")
        if answer.status == "200" and text_of(router, "Are you there?", 1):
            return
        time.sleep(0.2)
    sys.exit(f"{name} at {router.url} was not ready within 60 s")


@dataclass(frozen=True)
class Row:
    name: str
    ours: Answer
    peer: Answer

    @property
    def differs(self) -> set[str]:
        return self.ours.differences(self.peer)

    def verdict(self) -> tuple[str, bool]:
        """In words, and whether it is in order."""
        intended = INTENDED.get(self.name)
        if not self.differs:
            return ("same", True) if intended is None else ("same, but INTENDED says it differs", False)
        unintended = self.differs - (intended.differs if intended else set())
        if unintended:
            return f"DIFFERS: {', '.join(sorted(unintended))}", False
        return f"intended: {intended.why}", True

    def details(self) -> Iterator[str]:
        for name in sorted(self.differs):
            ours, peer = getattr(self.ours, name), getattr(self.peer, name)
            if name == "shape":
                ours, peer = sorted(ours - peer), sorted(peer - ours)
                yield f"    only ours: {ours}\n    only peer: {peer}"
            else:
                yield f"    {name}: ours {ours!r}, peer {peer!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="URL of adaptive-router")
    parser.add_argument("--peer", required=True, help="URL of sglang_router")
    parser.add_argument("--worker", required=True, help="URL of a worker that both know")
    args = parser.parse_args()
    ours, peer = Router(args.ours), Router(args.peer)
    await_ready(ours, "adaptive-router")
    await_ready(peer, "sglang_router")

    cases = [*client_cases(), *inference_cases(), done_in_text_case(ours), *admin_cases(args.worker)]
    unknown = INTENDED.keys() - {case.name for case in cases}
    if unknown:
        sys.exit(f"INTENDED names requests that are not sent: {sorted(unknown)}")

    rows = [Row(case.name, case.ask(ours), case.ask(peer)) for case in cases]
    wrong = [row for row in rows if not row.verdict()[1]]
    print(f"{'request':<50} {'adaptive-router':<58} {'sglang_router 0.3.2':<58} verdict")
    for row in rows:
        print(f"{row.name:<50} {row.ours.summary():<58} {row.peer.summary():<58} {row.verdict()[0]}")
    for row in wrong:
        print(f"\n{row.name}: {row.verdict()[0]}", *row.details(), sep="\n")
    same = sum(not row.differs for row in rows)
    print(f"\n{len(rows)} requests: {same} same, {len(rows) - same} differ, {len(wrong)} not in order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
