"""JavaScript files joined to one module, and refused where that would change what they mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import bundled

from ipha_toolkit.viewer.bundle import JS, bundle


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "main.js"


def test_files_are_joined_after_what_they_import_each_once(tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        main='import {two} from "./b.js";\nimport {one} from "./a.js";\nexport default one + two;\n',
        b='import {one} from "./a.js";\nexport const two = one + 1;\n',
        a="export const one = 1;\n",
    )
    assert re.findall(r"// ---- (\w+)", bundle(entry)) == ["a", "b", "main"]
    assert "import" not in bundle(entry)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {
                "main": 'import {a} from "./b.js";\nexport const b = 2;\n',
                "b": 'import {b} from "./main.js";\nexport const a = 1;\n',
            },
            "in a circle: main.js > b.js > main.js",
        ),
        ({"main": 'import {a} from "./b.js";\n'}, "imports b.js, which is not beside it"),
        ({"main": 'import {a} from "./b.js";\n', "b": "const a = 1;\n"}, "b.js does not export a"),
        ({"main": 'import * as b from "./b.js";\n', "b": ""}, "write 'import * as b from \"./b.js\";' as import {name"),
        (
            {"main": 'import {a} from "./b.js";\nconst c = 1;\n', "b": "export const a = 1;\nconst c = 2;\n"},
            "c: declared more than once",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        bundle(written(tmp_path, **files))


def test_the_viewer_is_one_module_with_one_default(offline_page: Any) -> None:
    assert bundled(offline_page, "(js) => typeof js.default.render") == "function"
    assert bundle().count("export default") == 1
    alone = {"export.js", "saved.js"}  # scripts of their own in pages
    alone |= {"review.js", "ratings.js"}  # of the queue of images to rate
    assert {path.name for path in JS.glob("*.js")} - alone == set(re.findall(r"// ---- ([\w.]+)", bundle()))


def test_no_notch_of_the_wheel_is_lost(offline_page: Any) -> None:
    turns = """(js) => {
        const count = (events) => events.reduce(([sum, rest], e) => { const [n, left] = js.notches(e, rest); return [sum + n, left]; }, [0, 0])[0];
        const mouse = (n) => ({deltaY: 100 * n, wheelDeltaY: -120 * n, deltaMode: 0}), touch = (deltaY) => ({deltaY, wheelDeltaY: -3 * deltaY, deltaMode: 0});
        return [
            count([mouse(1), mouse(3), mouse(-1), mouse(7)]),
            count(Array(25).fill(touch(9))), count([...Array(10).fill(touch(9)), ...Array(10).fill(touch(-9))]),
            count([{deltaY: 3, deltaMode: 1}, {deltaY: 9, deltaMode: 1}, {deltaY: -3, deltaMode: 1}]),
            count([{deltaY: 0, deltaX: 100, shiftKey: true, deltaMode: 0}]),
        ];
    }"""  # noqa: E501
    joined, slow, back, lines, sideways = bundled(offline_page, turns)
    assert joined == 10
    assert slow == 25 * 9 // 40
    assert back == 0
    assert lines == 3
    assert sideways == 1
