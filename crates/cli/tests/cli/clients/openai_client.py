"""The `openai` client against a running server: `openai_client.py URL URL_OF_A_SERVER_WITH_KEYS`.

The second server has the API key `one` and room for one waiting request. Every check is a function; the first that fails
ends the run with its assertion.
"""

import asyncio
import json
import re
import sys
import time
from typing import Annotated, Literal

import openai
import pydantic

OPEN, GUARDED = sys.argv[1], sys.argv[2]
MODEL = "tales"
PROMPT = "Once upon a time"
# Three blocks of sixteen positions.
SHORT = {"model": MODEL, "max_tokens": 48, "temperature": 0.7, "seed": 11}
ALTERED = {"block_length": 16, "steps": 8}

client = openai.OpenAI(base_url=f"{OPEN}/v1", api_key="none", max_retries=0, timeout=60)


def complete(**fields):
    fields = {**SHORT, "prompt": PROMPT, "extra_body": ALTERED, **fields}
    return client.completions.create(**fields)


def refused(kind, call, param=None, code=None, holds=""):
    """The error of a call, which has to be of this class and name this field."""
    try:
        answer = call()
    except kind as error:
        assert type(error) is kind, type(error)
        assert error.param == param, (error.param, error.message)
        assert code is None or error.code == code, (error.code, error.message)
        assert holds in str(error), str(error)
        return error
    raise AssertionError(f"{kind.__name__} is expected; the answer is {answer}")


def models_are_listed_and_shown():
    names = [model.id for model in client.models.list()]
    assert names == [MODEL], names
    model = client.models.retrieve(MODEL)
    assert model.object == "model" and model.owned_by == "aquatint", model
    assert model.meta["context_length"] > 0 and model.meta["parameters"] > 0, model
    refused(openai.NotFoundError, lambda: client.models.retrieve("other"), "model", "model_not_found", "other")


def a_text_is_completed_and_a_seed_gives_it_again():
    one, again, other = complete(), complete(), complete(seed=12)
    text = one.choices[0].text
    assert text and text == again.choices[0].text != other.choices[0].text
    assert one.object == "text_completion" and one.model == MODEL, one
    assert one.id != again.id and one.system_fingerprint == again.system_fingerprint != "", one
    usage = one.usage
    assert 0 < usage.completion_tokens <= 48 and usage.prompt_tokens > 0, usage
    assert one.choices[0].finish_reason == ("length" if usage.completion_tokens == 48 else "stop"), one
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert usage.forward_passes > 0 and abs(usage.tokens_per_forward * usage.forward_passes - usage.completion_tokens) < 1e-6
    assert complete(echo=True).choices[0].text == PROMPT + text
    # Without a seed one is drawn and returned.
    drawn = complete(seed=None)
    assert complete(seed=drawn.seed).choices[0].text == drawn.choices[0].text


def a_stream_is_the_same_text_in_parts():
    whole = complete()
    chunks = list(complete(stream=True, stream_options={"include_usage": True}))
    parts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(parts) == whole.choices[0].text, parts
    assert len([part for part in parts if part]) >= 3, parts
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage, chunks[-1]
    assert all(chunk.usage is None for chunk in chunks[:-1])


def conversations_are_continued_whole_and_streamed():
    fields = {**SHORT, "messages": [{"role": "user", "content": PROMPT}], "extra_body": ALTERED}
    whole = client.chat.completions.create(**fields)
    message = whole.choices[0].message
    assert whole.object == "chat.completion" and message.role == "assistant" and message.content, whole
    # This model has no template of conversations: the turns are one text.
    assert message.content == complete().choices[0].text, message
    parts = [{"type": "text", "text": PROMPT}]
    assert client.chat.completions.create(**{**fields, "messages": [{"role": "user", "content": parts}]}).choices == whole.choices
    with client.chat.completions.stream(**fields) as stream:
        streamed = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.current_completion_snapshot
    assert streamed == message.content == final.choices[0].message.content, streamed
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason


def several_results_have_the_seeds_behind_the_first():
    several = complete(n=3, max_tokens=16)
    alone = [complete(seed=SHORT["seed"] + index, max_tokens=16).choices[0].text for index in range(3)]
    assert [choice.text for choice in several.choices] == alone and len(set(alone)) == 3, several
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage.prompt_tokens == complete(max_tokens=16).usage.prompt_tokens, several.usage
    assert 0 < several.usage.completion_tokens <= 48, several.usage
    streamed = ["", "", ""]
    for chunk in complete(n=3, max_tokens=16, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == alone, streamed


def a_text_ends_at_its_stop_strings():
    text = complete().choices[0].text
    word = text.split()[5]
    cut = text[: text.index(word)]
    for stop in (word, [word, "never in it"]):
        stopped = complete(stop=stop)
        assert stopped.choices[0].text == cut and stopped.choices[0].finish_reason == "stop", stopped
        assert stopped.usage.completion_tokens <= 48
    streamed = list(complete(stop=word, stream=True))
    assert "".join(choice.text for chunk in streamed for choice in chunk.choices) == cut
    assert streamed[-1].choices[0].finish_reason == "stop", streamed[-1]


def holes_are_filled_between_prompt_and_suffix():
    fields = {"prompt": "The old king had a daughter.", "suffix": " And so they lived happily.", "max_tokens": 12}
    filled, open_end = complete(**fields), complete(**{**fields, "suffix": None})
    text = filled.choices[0].text
    assert text and filled.usage.completion_tokens <= 12, filled
    # What stands behind is read: the same seed writes something else without it.
    assert text != open_end.choices[0].text, text
    assert filled.usage.prompt_tokens > open_end.usage.prompt_tokens, filled.usage
    assert "".join(choice.text for chunk in complete(**fields, stream=True) for choice in chunk.choices) == text


def probabilities_of_tokens_are_returned():
    completed = complete(logprobs=1, max_tokens=16).choices[0]
    logprobs = completed.logprobs
    assert "".join(logprobs.tokens) == completed.text, logprobs
    assert 0 < len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) <= 16
    assert all(value <= 0 for value in logprobs.token_logprobs) and min(logprobs.token_logprobs) < 0, logprobs
    assert logprobs.text_offset[:2] == [0, len(logprobs.tokens[0])], logprobs
    chat = client.chat.completions.create(
        **{**SHORT, "max_tokens": 16}, messages=[{"role": "user", "content": PROMPT}], logprobs=True, extra_body=ALTERED
    )
    content = chat.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in content).decode() == chat.choices[0].message.content
    assert [token.logprob for token in content] == logprobs.token_logprobs
    assert complete(max_tokens=16).choices[0].logprobs is None


def denoising_events_replay_the_canvas():
    fields = {"stream": True, "extra_body": {**ALTERED, "stream_options": {"denoising": True, "include_usage": True}}}
    # Tokens are taken back, too, and a hole may lie between texts.
    taking_back = {**fields["extra_body"], "remasking": "cap:0.1"}
    for extra in ({}, {"extra_body": taking_back}, {"suffix": " And so they lived happily."}):
        canvas, text, steps, kinds = None, "", 0, set()
        for chunk in complete(**{**fields, **extra}):
            # To a client that looks at choices only, an event of the canvas has none.
            text += "".join(choice.text for choice in chunk.choices)
            kind = getattr(chunk, "type", None)
            if kind == "started":
                canvas, spans = chunk.canvas["positions"], chunk.canvas["spans"]
                assert chunk.forward_passes > 0 and steps == 0
            elif kind == "step":
                steps += 1
                for change in chunk.changes:
                    kinds.add(change["kind"])
                    position = canvas[change["position"]]
                    assert position["state"] in ("open", "written"), position
                    assert 0 <= change["probability"] <= 1, change
                    position["state"] = "written" if change["kind"] == "committed" else "open"
                    position["token"] = change["token"]
                for position in chunk.closed:
                    canvas[position]["state"] = "closed"
                for position, shown in chunk.texts.items():
                    canvas[int(position)]["text"] = shown
                assert sum(position["state"] == "open" for position in canvas) == chunk.open, chunk
            elif chunk.usage is not None:
                assert steps == chunk.usage.steps, (steps, chunk.usage)
        assert not any(position["state"] == "open" for position in canvas)
        assert "".join(position["text"] for position in canvas) == PROMPT + text + extra.get("suffix", ""), (canvas, text)
        assert len(spans) == 1 and ("renoised" in kinds) == ("extra_body" in extra), (spans, kinds)


class Animal(pydantic.BaseModel):
    kind: Literal["fox", "owl"]
    age: Annotated[int, pydantic.Field(ge=0, le=99)]


def answers_are_kept_within_a_schema():
    messages = [{"role": "user", "content": "An animal:"}]
    for seed, temperature in ((1, 0), (2, 0.7), (3, 1.5)):
        fields = {"model": MODEL, "messages": messages, "max_tokens": 64, "seed": seed, "temperature": temperature}
        parsed = client.chat.completions.parse(**fields, response_format=Animal).choices[0].message.parsed
        assert parsed.kind in ("fox", "owl") and 0 <= parsed.age <= 99, parsed
    schema = {"name": "animal", "schema": Animal.model_json_schema()}
    chunks = client.chat.completions.create(
        **fields, response_format={"type": "json_schema", "json_schema": schema}, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert Animal.model_validate_json(text) == parsed, text
    answer = complete(prompt="Is it?", max_tokens=16, extra_body={"regex": "(yes|no), [a-z]{3,9}!"}).choices[0].text
    assert re.fullmatch(r"\s*(yes|no), [a-z]{3,9}!", answer), answer
    answer = complete(prompt="It is ", max_tokens=24, extra_body={"grammar": 'start: word ("," word)*\nword: "fox" | "owl"'})
    assert re.fullmatch(r"\s*(fox|owl)(,(fox|owl))*", answer.choices[0].text), answer


def tools_are_called():
    parameters = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 12}}, "required": ["age"]}
    tool = {"type": "function", "function": {"name": "age", "parameters": parameters}}
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "An animal?"}], max_tokens=60, seed=5, tools=[tool],
        tool_choice={"type": "function", "function": {"name": "age"}},
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None, choice
    [call] = choice.message.tool_calls
    assert call.id and call.function.name == "age" and 0 <= json.loads(call.function.arguments)["age"] <= 12, call


def mistakes_are_named():
    bad = openai.BadRequestError
    refused(bad, lambda: complete(temperature=-1), "temperature", holds="-1")
    refused(bad, lambda: complete(top_p=2), "top_p", holds="2")
    refused(bad, lambda: complete(n=0), "n", "invalid_value")
    refused(bad, lambda: complete(max_tokens=10**6), "max_tokens", "context_length_exceeded")
    refused(bad, lambda: complete(best_of=4), "best_of", "unsupported_parameter")
    refused(bad, lambda: complete(extra_body={"polcy": "confidence"}), "polcy", "unknown_parameter")
    refused(bad, lambda: complete(extra_body={"policy": "confidently"}), "policy", holds="confidence")
    refused(bad, lambda: complete(prompt=["one", "two"]), "prompt", "invalid_value")
    refused(bad, lambda: client.chat.completions.create(**SHORT, messages=[]), "messages")
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    messages = [{"role": "user", "content": picture}]
    refused(bad, lambda: client.chat.completions.create(**SHORT, messages=messages), "messages[0].content[0].image_url.url", holds="data:")
    refused(openai.NotFoundError, lambda: complete(model="other"), "model", "model_not_found")
    refused(bad, lambda: client.embeddings.create(model=MODEL, input="text"), None, "unsupported_endpoint", "embeddings")
    refused(openai.NotFoundError, lambda: client.files.list(), None)


def only_whole_keys_open_the_server():
    for key in ("none", "on", "onee"):
        wrong = client.with_options(base_url=f"{GUARDED}/v1", api_key=key)
        refused(openai.AuthenticationError, lambda: wrong.completions.create(**SHORT, prompt=PROMPT), None, "invalid_api_key")
    right = client.with_options(base_url=f"{GUARDED}/v1", api_key="one")
    # The same text as from the other server.
    assert right.completions.create(**SHORT, prompt=PROMPT, extra_body=ALTERED).choices == complete().choices


def a_full_queue_is_a_rate_limit():
    right = client.with_options(base_url=f"{GUARDED}/v1", api_key="one")
    error = refused(
        openai.RateLimitError, lambda: right.completions.create(**SHORT, prompt=PROMPT, n=16), None, "queue_full"
    )
    assert int(error.response.headers["retry-after"]) >= 1
    # The client waits as it is asked to, and tries again by itself.
    patient = right.with_options(max_retries=5)
    assert patient.completions.create(**SHORT, prompt=PROMPT, extra_body=ALTERED).choices == complete().choices


def a_stream_that_is_left_is_cancelled():
    def cancelled():
        lines = client._client.get(f"{OPEN}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if "ancelled" in line and line.startswith("aquatint_requests"))

    before = cancelled()
    with complete(stream=True, max_tokens=240, extra_body={}) as stream:
        next(chunk for chunk in stream if chunk.choices[0].text)
    for _ in range(200):
        if cancelled() == before + 1:
            return
        time.sleep(0.02)
    raise AssertionError("the request goes on without a reader")


def requests_at_once_change_nothing():
    fields = [
        {**SHORT, "prompt": prompt, "seed": seed, "max_tokens": 8 + 8 * (seed % 3)}
        for seed, prompt in enumerate([PROMPT, "The fox", "", "In a dark forest", "The king said"])
    ]

    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=f"{OPEN}/v1", api_key="none", max_retries=0) as together:
            return await asyncio.gather(*(together.completions.create(**one) for one in fields))

    texts = [answer.choices[0].text for answer in asyncio.run(all_at_once())]
    assert texts == [client.completions.create(**one).choices[0].text for one in fields], texts


CHECKS = [
    models_are_listed_and_shown,
    a_text_is_completed_and_a_seed_gives_it_again,
    a_stream_is_the_same_text_in_parts,
    conversations_are_continued_whole_and_streamed,
    several_results_have_the_seeds_behind_the_first,
    a_text_ends_at_its_stop_strings,
    holes_are_filled_between_prompt_and_suffix,
    probabilities_of_tokens_are_returned,
    denoising_events_replay_the_canvas,
    answers_are_kept_within_a_schema,
    tools_are_called,
    mistakes_are_named,
    only_whole_keys_open_the_server,
    a_full_queue_is_a_rate_limit,
    a_stream_that_is_left_is_cancelled,
    requests_at_once_change_nothing,
]

for check in CHECKS:
    begun = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - begun:.2f} s", flush=True)
