"""The `ollama` client against a running server: `ollama_client.py URL`."""

import sys
import time

import ollama

MODEL = "tales"
PROMPT = "Once upon a time"
OPTIONS = {"num_predict": 24, "seed": 11, "temperature": 0.7, "steps": 4}

client = ollama.Client(host=sys.argv[1], timeout=60)


def generate(**fields):
    return client.generate(**{"model": MODEL, "prompt": PROMPT, "options": OPTIONS, **fields})


def refused(call, status, *holds):
    try:
        answer = call()
    except ollama.ResponseError as error:
        assert error.status_code == status, error
        assert all(part in error.error for part in holds), error
        return
    raise AssertionError(f"{status} is expected; the answer is {answer}")


def models_are_listed_and_shown():
    assert [model.model for model in client.list().models] == [f"{MODEL}:latest"], client.list()
    assert [model.model for model in client.ps().models] == [f"{MODEL}:latest"], client.ps()
    shown = client.show(MODEL)
    assert "completion" in shown.capabilities and "insert" in shown.capabilities, shown
    assert shown.details.parameter_size and shown.modelinfo, shown
    refused(lambda: client.show("other"), 404, "other")


def a_text_is_completed_and_streamed():
    whole = generate()
    assert whole.response and whole.done and whole.done_reason in ("stop", "length"), whole
    assert 0 < whole.eval_count <= 24 and whole.prompt_eval_count > 0 and whole.total_duration > 0, whole
    assert generate().response == whole.response == generate(model=f"{MODEL}:latest").response
    assert generate(options={**OPTIONS, "seed": 12}).response != whole.response
    parts = list(generate(stream=True))
    assert "".join(part.response for part in parts) == whole.response, parts
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True], parts
    assert len(parts) > 2 and parts[-1].eval_count == whole.eval_count, parts


def conversations_are_continued_and_streamed():
    messages = [{"role": "user", "content": PROMPT}]
    whole = client.chat(model=MODEL, messages=messages, options=OPTIONS)
    # This model has no template of conversations: the turns are one text.
    assert whole.message.role == "assistant" and whole.message.content == generate().response, whole
    parts = list(client.chat(model=MODEL, messages=messages, options=OPTIONS, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content, parts
    assert parts[-1].done and parts[-1].done_reason == whole.done_reason, parts


def holes_are_filled_and_texts_stopped():
    filled = generate(suffix=" And so they lived happily.")
    assert filled.response != generate().response and filled.prompt_eval_count > generate().prompt_eval_count, filled
    text = generate().response
    word = text.split()[3]
    stopped = generate(options={**OPTIONS, "stop": [word]})
    assert stopped.response == text[: text.index(word)] and stopped.done_reason == "stop", stopped


def mistakes_are_named():
    refused(lambda: generate(model="other"), 404, "other")
    refused(lambda: generate(options={**OPTIONS, "temperature": -1}), 400, "temperature", "-1")
    refused(lambda: generate(options={**OPTIONS, "mirostat": 2}), 400, "mirostat")
    refused(lambda: generate(think=True), 400, "think")
    refused(lambda: client.embed(model=MODEL, input="text"), 400, "embeddings")
    refused(lambda: client.pull("other"), 404)


for check in [
    models_are_listed_and_shown,
    a_text_is_completed_and_streamed,
    conversations_are_continued_and_streamed,
    holes_are_filled_and_texts_stopped,
    mistakes_are_named,
]:
    begun = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - begun:.2f} s", flush=True)
