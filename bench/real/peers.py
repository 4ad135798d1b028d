"""The same greedy requests through this router and through sglang-router 0.3.2, in front of the same workers.

Each goes through this router twice, so that what differs between two answers of one router is known: ids and times aside,
nothing should. Text, token ids, usage and the reason why an answer ended are compared, the names and types of all members,
status and content type. A difference is expected where docs/compatibility.md has it, and named by its reason in EXPECTED.
"""

import http.client
import json

import table
from router import Peer, call, peer_python

TIMEOUT_S = 60
# Of the samples of one prompt SGLang 0.5.23 answers one: whoever waits for all waits for ever.
SAMPLES_S = 8
TOKENS = 24
BRIEF = 200  # characters of a value that are shown

MORE_THAN_PEER = "the peer doesn't take this request"
MERGED = "the peer merges log probabilities of whole answers only, and not all of them"
ERROR_WORDS = "errors that a router makes have its own words"
SAMPLES = "SGLang 0.5.23 never answers several samples of a prompt in one room"
LOGPROBS_TYPE = "the peer loses decode's headers where it merges"
STREAM_OPTIONS = "the peer drops members of stream_options that it doesn't know"
EXPECTED = {
    "generate, batch of texts": MORE_THAN_PEER,
    "generate, log probabilities, streamed": MERGED,
    "generate, log probabilities": LOGPROBS_TYPE,
    "generate, two samples": SAMPLES,
    "completions, streamed, all usage": STREAM_OPTIONS,
    "chat, streamed, all usage": STREAM_OPTIONS,
    "completions, log probabilities": LOGPROBS_TYPE,
    "chat, log probabilities": LOGPROBS_TYPE,
    "completions, token ids": MORE_THAN_PEER,
    "completions, batch of token ids": MORE_THAN_PEER,
    "completions, two samples": SAMPLES,
    "chat, two samples": SAMPLES,
    "no JSON": ERROR_WORDS,
    "chat, no messages": ERROR_WORDS,
}


def cases(model):
    """(name, path, body)"""
    text, other = "The capital of France is", "Count to ten: one, two"
    ids = list(range(1000, 1040))
    sampling = {"max_new_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    generate = {"text": text, "sampling_params": sampling}
    openai = {"model": model, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    prompt = openai | {"prompt": text}
    chat = openai | {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]}
    logprobs = {"return_logprob": True, "logprob_start_len": 0}
    usage, all_usage = {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}
    streamed = {"stream": True}
    return [
        ("generate", "/generate", generate),
        ("generate, streamed", "/generate", generate | streamed),
        ("generate, token ids", "/generate", {"input_ids": ids, "sampling_params": sampling}),
        ("generate, token ids, streamed", "/generate", {"input_ids": ids, "sampling_params": sampling, **streamed}),
        ("generate, batch of texts", "/generate", generate | {"text": [text, other]}),
        ("generate, batch of token ids", "/generate", {"input_ids": [ids, ids[:9]], "sampling_params": sampling}),
        ("generate, log probabilities", "/generate", generate | logprobs),
        ("generate, log probabilities, streamed", "/generate", generate | logprobs | streamed),
        ("generate, one token", "/generate", generate | {"sampling_params": sampling | {"max_new_tokens": 1}}),
        ("generate, own rid", "/generate", generate | {"rid": "mine"}),
        ("generate, two samples", "/generate", generate | {"sampling_params": sampling | {"n": 2}}),
        ("generate, nothing to read", "/generate", {"sampling_params": sampling}),
        ("generate, too long", "/generate", {"input_ids": [1000] * 40000, "sampling_params": sampling}),
        ("completions", "/v1/completions", prompt),
        ("completions, streamed", "/v1/completions", prompt | streamed),
        ("completions, streamed, usage", "/v1/completions", prompt | streamed | {"stream_options": usage}),
        ("completions, streamed, all usage", "/v1/completions", prompt | streamed | {"stream_options": all_usage}),
        ("completions, batch", "/v1/completions", openai | {"prompt": [text, other]}),
        ("completions, token ids", "/v1/completions", openai | {"prompt": ids}),
        ("completions, batch of token ids", "/v1/completions", openai | {"prompt": [ids, ids[:9]]}),
        ("completions, log probabilities", "/v1/completions", prompt | {"logprobs": 2}),
        ("completions, log probabilities, streamed", "/v1/completions", prompt | streamed | {"logprobs": 2}),
        ("completions, echo", "/v1/completions", prompt | {"echo": True}),
        ("completions, two samples", "/v1/completions", prompt | {"n": 2}),
        ("chat", "/v1/chat/completions", chat),
        ("chat, streamed", "/v1/chat/completions", chat | streamed),
        ("chat, streamed, usage", "/v1/chat/completions", chat | streamed | {"stream_options": usage}),
        ("chat, streamed, all usage", "/v1/chat/completions", chat | streamed | {"stream_options": all_usage}),
        ("chat, log probabilities", "/v1/chat/completions", chat | {"logprobs": True, "top_logprobs": 2}),
        ("chat, two samples", "/v1/chat/completions", chat | {"n": 2}),
        ("chat, no messages", "/v1/chat/completions", openai),
        ("chat, any model's name", "/v1/chat/completions", chat | {"model": "another"}),
        ("no JSON", "/generate", None),
    ]


def peers(study):
    rig, python = study.rig, peer_python()
    study.say(study.workers())
    if python is None:
        study.say("left out: no Python with sglang_router; PEER_PYTHON names one")
        return
    name = next(table.fresh_names(study))
    with study.router("--planner", "fixed", "--prefill-queue-tokens", 0) as router:
        router.wait_ready()
        model = call(router.port, "GET", "/v1/models")[1]["data"][0]["id"]
        with Peer(rig, name, study.out / "peer.log", python) as peer:
            peer.wait_ready(60)
            rows = [one_case(study, router, peer, case) for case in cases(model)]
    same, noisy = [row["differs"] for row in rows].count([]), [row["name"] for row in rows if row["own_differs"]]
    surprising = [row["name"] for row in rows if row["differs"] and not row["expected"]]
    study.write(what="peers", of=len(rows), same=same, surprising=surprising, differ_from_themselves=noisy)
    study.say(f"{len(rows)} requests: {same} answered alike; {len(rows) - same} not, of which nobody expected {surprising};"
              f" this router's answers differ from themselves: {noisy}")  # fmt: skip
    study.failures += bool(surprising or noisy)


def one_case(study, router, peer, case):
    name, path, body = case
    seconds = SAMPLES_S if "samples" in name else TIMEOUT_S
    ours, theirs, again = (ask(port, path, body, seconds) for port in (router.port, peer.port, router.port))
    differs = sorted(key for key in ours if ours[key] != theirs[key])
    own = sorted(key for key in ours if ours[key] != again[key])
    row = {"name": name, "differs": differs, "own_differs": own, "expected": EXPECTED.get(name) if differs else None}
    shown = {key: brief(ours[key], theirs[key]) for key in differs}
    study.write(what="peer", **row, ours=ours["status"], theirs=theirs["status"], values=shown)
    if differs or own:
        study.say(f"{name}: differs in {shown}{f', from itself in {own}' if own else ''} ({row['expected']})")
    return row


def brief(ours, theirs):
    """The two values, or of lists of members those that only one has."""
    if isinstance(ours, list) and isinstance(theirs, list):
        ours, theirs = ([one for one in mine if one not in other] for mine, other in ((ours, theirs), (theirs, ours)))
    return [str(value)[:BRIEF] for value in (ours, theirs)]


def ask(port, path, body, seconds):
    """What is compared of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        data = b"{'" if body is None else json.dumps(body).encode()
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        kind = (answer.headers.get("Content-Type") or "").split(";")[0]
        return what_it_says(answer.status, kind, answer.read())
    except TimeoutError:
        return what_it_says(f"nothing within {seconds} s", "", b"")
    except (OSError, http.client.HTTPException) as problem:
        return what_it_says(type(problem).__name__, "", b"")
    finally:
        connection.close()


def what_it_says(status, kind, body):
    said = {"status": status, "type": kind, "text": {}, "ids": {}, "usage": None, "finish": {}, "members": [], "done": None}
    try:
        if kind == "text/event-stream":
            lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
            said["done"] = lines[-1:] == ["[DONE]"]
            answers = [json.loads(line) for line in lines if line != "[DONE]"]
        else:
            answers = [json.loads(body)] if body else []
    except ValueError:
        return said | {"members": ["no JSON"], "text": body.decode(errors="replace")[:120] if status == 200 else {}}
    for answer in answers:
        for member in answer if isinstance(answer, list) else [answer]:
            read(said, member)
    said["members"] = sorted({path for answer in answers for path in paths(answer)})
    return said


def read(said, answer):
    if not isinstance(answer, dict):
        return
    if "meta_info" in answer:
        index, meta = answer.get("index") or len(said["text"]) * (said["done"] is None), answer["meta_info"]
        said["text"][index], said["ids"][index] = answer.get("text"), answer.get("output_ids")
        said["usage"] = [meta.get("prompt_tokens"), meta.get("completion_tokens")]
        said["finish"][index] = meta.get("finish_reason")
        if meta.get("input_token_logprobs"):
            said["ids"]["prompt"] = len(meta["input_token_logprobs"])
    for choice in answer.get("choices", []):
        index, told = choice["index"], choice.get("message") or choice.get("delta") or {}
        said["text"][index] = said["text"].get(index, "") + (choice.get("text") or told.get("content") or "")
        said["finish"][index] = choice.get("finish_reason") or said["finish"].get(index)
    if answer.get("usage"):
        said["usage"] = [answer["usage"].get("prompt_tokens"), answer["usage"].get("completion_tokens")]


def paths(value, at=""):
    """`choices[].index:number` for every leaf; the members of a list are one."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from paths(member, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for member in value:
            yield from paths(member, f"{at}[]")
    else:
        yield f"{at}:{'number' if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__}"
