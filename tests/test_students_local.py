import math
import shutil
from pathlib import Path

import pytest
import torch
from models import UNSET, WEATHER, ask, pool, spec, trainer
from pydantic import TypeAdapter, ValidationError

from sloop.records import Checkpoint, Decode, EnvSpec, Message, Sample, UserError
from sloop.store import Dataset, write_rows
from sloop.students.decoding import Draws, generate
from sloop.students.local import Device, LocalStudent, load_model, stop_ids
from sloop.students.templates import encode, render_prompt


def student(**changes: object) -> LocalStudent:
    settings = {
        "name": "s",
        "path": None,
        "scratch": spec(),
        "answer_format": None,
        "threads": 1,
        "dtype": "fp32",
        "device": "cpu",
        **UNSET,
    }
    return LocalStudent(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("student")
    write_rows(folder / "pool.jsonl", pool())
    data = Dataset(folder / "pool.jsonl")
    start = student().start(data, seed=0, out=folder / "c0")
    return trainer(learning_rate=0.01, batch_size=8).train(start, data, None, steps=120, seed=0, out=folder / "c1")


def test_a_trained_student_answers_what_it_learnt(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    answers = one.predict(pool(), Decode(max_tokens=64))
    assert [answer.sample_id for answer in answers] == [sample.id for sample in pool()]
    assert [answer.error for answer in answers] == [None] * len(answers)
    assert [answer.calls for answer in answers] == [sample.label.calls for sample in pool() if sample.label]
    assert answers[-1].content == "No suitable tool."
    assert all(answer.perplexity is not None and 1 <= answer.perplexity < 1.5 for answer in answers)


def test_an_answer_does_not_depend_on_its_batch(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    samples = [*pool(), ask("hello hello hello what is the weather in a town whose name is long")]
    together = one.predict(samples, Decode(max_tokens=40))
    backwards = one.predict(samples[::-1], Decode(max_tokens=40))[::-1]
    alone = [one.predict([sample], Decode(max_tokens=40))[0] for sample in samples]
    for answers in (backwards, alone):
        assert [answer.text for answer in answers] == [answer.text for answer in together]
        for answer, same in zip(answers, together, strict=True):
            assert answer.logprob == pytest.approx(same.logprob, abs=1e-3)


def test_the_loop_writes_what_transformers_generates_with_its_log_probabilities(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    model, tokenizer = one._model, one._tokenizer
    assert model is not None
    assert tokenizer is not None
    sample = pool()[3]
    prompt = encode(tokenizer, [render_prompt(tokenizer, sample)])[0]
    ids, logprobs, ended = generate(model, [prompt], [40], stop_ids(model, tokenizer))[0]
    assert ended
    assert model.generate(torch.tensor([prompt]), max_new_tokens=40)[0, len(prompt) :].tolist() == ids
    logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    assert logprobs == pytest.approx(logits[range(len(ids)), ids].tolist(), abs=1e-4)


def test_an_answer_without_end_is_truncated(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    answer = one.predict(pool()[:1], Decode(max_tokens=3))[0]
    assert (answer.error, answer.num_tokens, answer.calls) == ("truncated", 3, ())
    assert answer.logprob is not None
    assert math.isfinite(answer.logprob)


def test_a_prompt_beyond_the_context_is_not_cut_but_reported(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    long, short = ask("word " * 400), pool()[0]
    answers = one.predict([long, short], Decode(max_tokens=64))
    assert (answers[0].error, answers[0].text, answers[0].num_tokens) == ("truncated", "", 0)
    assert answers[1].error is None


def test_no_samples_have_no_answers(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    assert one.predict([], Decode()) == []


def test_a_folder_is_taken_as_it_is(trained: Checkpoint, tmp_path: Path) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    given = student(path=trained.path, scratch=None).start(Dataset(tmp_path / "pool.jsonl"), seed=0, out=tmp_path / "c")
    assert given == trained
    assert not (tmp_path / "c").exists()


def test_path_and_scratch_exclude_each_other() -> None:
    with pytest.raises(UserError, match="not both"):
        student(path="somewhere")
    with pytest.raises(UserError, match="not both"):
        student(scratch=None)


def test_answers_before_weights_are_refused() -> None:
    with pytest.raises(UserError, match="load"):
        student().predict([Sample(tools=(WEATHER,), messages=(Message(role="user", content="hi"),))], Decode())


def test_a_format_that_is_not_recorded_is_chosen_by_the_template_or_asked_for(
    trained: Checkpoint, tmp_path: Path
) -> None:
    for file in Path(trained.path).iterdir():
        if file.is_file() and file.name != "sloop.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    bare = Checkpoint(path=str(tmp_path), digest="0")
    one = student()
    one.load(bare)
    assert one.format == "hermes"
    template = tmp_path / "chat_template.jinja"
    template.write_text("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")
    for unsaid in (student(), student(answer_format="auto")):
        with pytest.raises(
            UserError, match=r"chat template shows none\. Set student\.answer_format to one of: .*mistral"
        ):
            unsaid.load(bare)
    one = student(answer_format="hermes")
    one.load(bare)
    assert one.format == "hermes"


def test_auto_goes_by_the_template_whatever_is_recorded(trained: Checkpoint, tmp_path: Path) -> None:
    copy = shutil.copytree(trained.path, tmp_path / "copy")
    (copy / "sloop.json").write_text('{"format": "mistral"}')
    found = []
    for answer_format in (None, "auto", "json"):
        one = student(answer_format=answer_format)
        one.load(Checkpoint(path=str(copy), digest="0"))
        found.append(one.format)
    assert found == ["mistral", "hermes", "json"]


def test_a_device_that_holds_no_values_is_refused() -> None:
    with pytest.raises(ValidationError, match="give a device that PyTorch can use here"):
        TypeAdapter(Device).validate_python("meta")


def test_weights_load_in_the_asked_for_precision(trained: Checkpoint) -> None:
    assert load_model(Path(trained.path), torch.bfloat16).dtype == torch.bfloat16


def test_answers_of_one_batch_have_their_own_length_and_may_be_broken_off(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    prompts = [one.prompt(sample).tokens for sample in pool()[:3]]
    seen: list[tuple[int, int]] = []

    def watch(row: int, token: int, logprob: float) -> bool:
        assert logprob <= 0
        seen.append((row, token))
        return row == 1 and len([1 for index, _ in seen if index == 1]) == 5

    whole = one.write(prompts, [64, 64, 64])
    short, broken, left = one.write(prompts, [2, 64, 64], watch)
    assert short == (whole[0].tokens[:2], short.logprobs, False)
    assert broken == (whole[1].tokens[:5], broken.logprobs, False)
    assert (left.tokens, left.ended) == (whole[2].tokens, True)
    assert [token for row, token in seen if row == 2] == left.tokens


# --- drawn answers ---

WARM = Decode(max_tokens=24, temperature=1.5)


def test_a_drawn_answer_is_the_same_in_any_batch_and_another_for_another_seed_or_trial(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    samples = pool()

    def texts(decode: Decode, size: int) -> list[str]:
        starts = range(0, len(samples), size)
        return [a.text for start in starts for a in one.predict(samples[start : start + size], decode)]

    together = texts(WARM, len(samples))
    assert texts(WARM, 1) == texts(WARM, 4) == together
    for change in ({"seed": 1}, {"trial": 1}, {"temperature": 0.0}):
        assert texts(WARM.model_copy(update=change), len(samples)) != together


def test_samples_of_one_prompt_have_draws_of_their_own(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    first = pool()[0]
    second = first.model_copy(update={"env": EnvSpec(toolkit="clock")})
    assert one.prompt(first) == one.prompt(second)
    answers = one.predict([first, second, first], WARM)
    assert answers[0].text == answers[2].text != answers[1].text


def test_no_temperature_is_too_low_to_divide_by() -> None:
    logs = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert Draws([(1e-320, 0)]).pick(logs, [0]).tolist() == [1]


def test_the_probability_of_a_drawn_answer_is_the_models_own(trained: Checkpoint) -> None:
    one = student()
    one.load(trained)
    prompt = one.prompt(pool()[0]).tokens
    (written,) = one.write([prompt], [16], draws=Draws([(2.0, 3)]))
    model = one._model
    assert model is not None
    logits = model(torch.tensor([prompt + written.tokens])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    assert written.logprobs == pytest.approx(logits[range(len(written.tokens)), written.tokens].tolist(), abs=1e-4)


def test_tokens_are_drawn_as_often_as_the_temperature_says() -> None:
    logs, count, temperature = torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 4000, 0.7
    drawn = Draws([(temperature, seed) for seed in range(count)]).pick(logs.expand(count, -1), range(count))
    shares = drawn.bincount(minlength=4) / count
    assert shares.tolist() == pytest.approx((logs / temperature).softmax(-1).tolist(), abs=0.03)
