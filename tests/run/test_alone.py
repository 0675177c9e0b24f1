from types import ModuleType

import pytest

from ipha_toolkit.run.alone import why_alone


def script(path, text):
    module = ModuleType("__main__")
    if text is not None:
        path.write_text(text)
    module.__file__ = str(path)
    return module


@pytest.mark.parametrize(
    "text, words",
    [
        ("import x\nif __name__ == '__main__':\n    x.run()\n", ""),
        ("def main(): ...\nif '__main__' == __name__: main()\n", ""),
        ("import x\nx.run()\n", "would run all of it again: put what it does below if __name__"),
        ("def f():\n    if __name__ == '__main__': ...\nf()\n", "would run all of it again"),
        ("this is no Python", ""),
        (None, "save the script as a file"),
    ],
)
def test_a_script_has_to_be_a_file_that_does_nothing_when_imported(tmp_path, text, words):
    reason = why_alone(main=script(tmp_path / "mine.py", text))
    assert words in reason and bool(words) == bool(reason)


def test_a_function_that_no_file_holds_keeps_the_work_here():
    prompt = ModuleType("__main__")
    assert why_alone(None, print, main=prompt) == ""
    assert "lambda" in why_alone(lambda volume: volume, main=prompt)

    def typed(volume):
        return volume

    typed.__module__, typed.__qualname__ = "__main__", "typed"
    assert "cannot import typed from a notebook" in why_alone(typed, main=prompt)


def test_tests_themselves_may_start_workers():
    assert why_alone() == ""
