"""Every exercise can be solved, and a wrong answer is not taken for a right one."""

import re

import pytest

from tests.notebooks.sketches import NOTEBOOKS, cells

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
setups = {}


def exercises():
    """(notebook, number) of every exercise."""
    for name in NAMES:
        ids = [cell["id"] for cell in cells(name)]
        for number in range(1, sum(bool(re.fullmatch(r"exercise-\d+", i)) for i in ids) + 1):
            yield name, number


def after_setup(name):
    """A fresh namespace in which the notebook's setup cell has run."""
    if name not in setups:
        setups[name] = {}
        exec(next(c["source"] for c in cells(name) if c["id"] == "setup"), setups[name])
    return dict(setups[name])


def parts(name, number):
    by_id = {cell["id"]: cell["source"] for cell in cells(name)}
    solution = by_id[f"exercise-{number}-solution"]
    assert solution.startswith("<details>")
    (code,) = re.findall(r"```python\n(.*?)```", solution, flags=re.S)
    return by_id[f"exercise-{number}-answer"], by_id[f"exercise-{number}-check"], code


def refuses(name, number, source):
    """Runs the code of an answer, and asserts that the check of the exercise does not take it."""
    _, check, _ = parts(name, number)
    namespace = after_setup(name)
    exec(source, namespace)
    with pytest.raises(AssertionError):
        exec(check, namespace)


def refuses_changed_solution(name, number, right, wrong):
    """Asserts that the check does not take the solution with ``wrong`` in place of ``right``."""
    _, _, solution = parts(name, number)
    assert right in solution
    refuses(name, number, solution.replace(right, wrong))


@pytest.mark.parametrize("name", NAMES)
def test_there_are_three_to_five(name):
    assert 3 <= sum(notebook == name for notebook, _ in exercises()) <= 5


def recorded(answer, outputs):
    """The function ``answer``, which also puts what it returns into the list ``outputs``."""

    def answer_and_record(*args, **kwargs):
        outputs.append(answer(*args, **kwargs))
        return outputs[-1]

    return answer_and_record


@pytest.mark.parametrize(("name", "number"), list(exercises()))
def test_solution_passes_the_check_and_halves_in_its_place_do_not(name, number, capsys):
    """The wrong answer returns 0.5 wherever the right one returned a number; it trains nothing."""
    _, check, solution = parts(name, number)
    right = after_setup(name)
    exec(solution, right)
    answer, outputs = right[f"answer_{number}"], []
    wrong = {**right, f"answer_{number}": -12345.0}
    if callable(answer):
        right[f"answer_{number}"] = recorded(answer, outputs)
        wrong[f"answer_{number}"] = lambda *args, **kwargs: 0.5 + 0 * outputs.pop(0)
    exec(check, right)
    assert capsys.readouterr().out.strip().endswith(f"Exercise {number}: correct")
    with pytest.raises(Exception):  # noqa: B017, an AssertionError or what NumPy says of a shape
        exec(check, wrong)


@pytest.mark.parametrize(("name", "number"), list(exercises()))
def test_unanswered_exercise_says_so(name, number, capsys):
    answer, check, _ = parts(name, number)
    namespace = after_setup(name)
    exec(answer, namespace)
    exec(check, namespace)
    assert capsys.readouterr().out == f"Exercise {number}: not answered yet\n"
