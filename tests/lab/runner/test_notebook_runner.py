import base64
import errno
import io
import os
import pty
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner.notebook_runner import (
    _anonymous,
    keep_outputs,
    problem,
    read_notebook,
    run_notebook,
    terminal,
)

CODE = (
    "import os, sys, numpy as np\nprint(sys.executable)\nprint(os.getcwd(), k)\n"
    "print(os.environ['RVD_PROGRESS'])",
    "for i in range(3):\n    print(i, flush=True)",
    "object()",
    """
import io
from IPython.display import Image as Shown
from PIL import Image
noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
smooth = np.full((200, 300, 4), 255, dtype=np.uint8)
smooth[:, :150, 0] = np.arange(150)
smooth[:40, :40, :3] = noise
buffer = io.BytesIO()
Image.fromarray(smooth).save(buffer, "PNG")
Shown(buffer.getvalue())
""",
)


@pytest.fixture(scope="module")
def run_twice(tmp_path_factory, make_notebook):
    """One notebook executed two times: its folder, and both outputs.

    Somebody has installed another kernel of the same name, which cannot even start.
    """
    folder = tmp_path_factory.mktemp("notebooks with space")
    source = make_notebook(folder / "01_{braces}.ipynb", *CODE)
    outputs = [folder / "results" / f"{name}.ipynb" for name in ("first", "second")]
    foreign = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text('{"argv": ["false"], "display_name": "other", "language": "python"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        for output in outputs:
            run_notebook(source, output, {"k": 7})
    return folder, outputs


def outputs_of(path):
    return [cell.outputs for cell in read_notebook(path).cells if cell.cell_type == "code"]


def test_it_runs_with_the_given_parameters_this_interpreter_and_the_notebooks_folder(run_twice):
    folder, (first, _) = run_twice
    (printed,) = outputs_of(first)[2]
    interpreter, where, progress = printed.text.splitlines()
    assert sys.executable.endswith(interpreter.removeprefix("~"))
    assert where == f"{folder} 7"
    assert progress == os.devnull  # a document holds no progress bar


def test_progress_is_shown_on_the_terminal_if_there_is_one(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        assert terminal() == os.ttyname(theirs)


def test_the_same_results_give_the_same_bytes_of_an_executed_notebook(run_twice):
    first, second = run_twice[1]
    assert first.read_bytes() == second.read_bytes()
    assert problem(read_notebook(first)) == ""
    # A printed line after another makes one output.
    assert [output.text for output in outputs_of(first)[3]] == ["0\n1\n2\n"]


def test_numbers_within_the_tolerance_leave_the_executed_notebook_as_it_was(
    tmp_path, make_notebook
):
    value = tmp_path / "value.txt"
    source = make_notebook(
        tmp_path / "03_x.ipynb", "print(open('value.txt').read())", "print(0.2)", "print(k)"
    )
    output = tmp_path / "results" / "03_x.ipynb"
    kept = []
    for text in ("0.5000 MF", "0.5005 MF"):
        value.write_text(text)
        run_notebook(source, output, {})
        kept.append(output.read_bytes())
    assert kept[0] == kept[1]
    output.write_text("damaged")
    run_notebook(source, output, {})
    assert output.read_bytes() == kept[0].replace(b"0.5000", b"0.5005")


def cell(*outputs, source="1"):
    return new_notebook(cells=[new_code_cell(source, id="a", outputs=list(outputs))])


def table(text, kind="text/html", output="execute_result"):
    return new_output(output, data={kind: text, "text/plain": "-"})


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        (cell(table("<td>0.5</td>")), cell(table("<td>0.504</td>")), True),
        (cell(table("<td>0.5</td>")), cell(table("<td>0.52</td>")), False),
        (cell(table("0.5")), cell(table("0.504", "text/markdown")), False),
        (cell(table("0.5")), cell(table("0.504", output="display_data")), False),
        (cell(table("0.5")), cell(table("0.504"), source="2"), False),
        (cell(table({"a": 0.5}, "application/json")), cell(table("0.5")), False),
        (cell(), cell(table("0.504")), False),
        (cell(table("0.5"), table("0.6")), cell(table("0.504")), True),
        (cell(new_output("stream", name="stdout", text="0.5")), cell(table("0.504")), False),
    ],
)
def test_an_output_stays_if_it_says_the_same_of_the_same_cell(old, new, stays):
    wanted = (old if stays else new).cells[0].outputs[:1]
    keep_outputs(new, old, tolerance=0.01)
    assert new.cells[0].outputs == wanted


def test_of_many_outputs_each_stays_for_itself_a_figure_if_nothing_in_it_moved():
    new = cell(*map(table, ("0.504", "0.7", "0.901")))
    keep_outputs(new, cell(*map(table, ("0.5", "0.6", "0.9"))), tolerance=0.01)
    assert new.cells[0].outputs == [*map(table, ("0.5", "0.7", "0.9"))]

    def figure(column, width=30):
        page = np.full((20, width, 3), 255, dtype=np.uint8)
        page[:, column] = 0
        buffer = io.BytesIO()
        Image.fromarray(page).save(buffer, "PNG")
        return table(base64.b64encode(buffer.getvalue()).decode(), "image/png")

    for moved, stays in ((figure(6), True), (figure(8), False), (figure(5, width=31), False)):
        new = cell(moved)
        keep_outputs(new, cell(figure(5)), tolerance=0.01)
        assert (new.cells[0].outputs == [figure(5)]) is stays


def test_nothing_of_when_and_where_it_ran_is_kept(run_twice):
    notebook = read_notebook(run_twice[1][0])
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata.keys() <= {"tags"} for cell in notebook.cells)
    assert [cell.id for cell in notebook.cells][:3] == ["title", "parameters", "cell-2"]
    text = run_twice[1][0].read_text()
    assert not re.search(r"0x[0-9a-f]{6}|papermill|\d\d:\d\d:\d\d", text)


def test_figures_are_made_light_and_stay_what_they_were(run_twice):
    (output,) = outputs_of(run_twice[1][0])[5]
    light = base64.b64decode(output.data["image/png"])
    image = Image.open(io.BytesIO(light))
    assert (image.mode, image.size) == ("P", (300, 200))
    pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels[100:, 150:] == 255).all()  # white is white
    assert np.abs(pixels[100:, :150, 0] - np.arange(150)).max() < 16


def spoil(notebook, how):
    last = notebook.cells[-1]
    if how == "stripped":
        for cell in notebook.cells[1:]:
            cell.outputs, cell.execution_count = [], None
    elif how == "outputs stripped":
        for cell in notebook.cells[1:]:
            cell.outputs = []
    elif how == "one cell unexecuted":
        last.execution_count = None
    elif how == "error":
        last.outputs.append(new_output("error", ename="KeyError", evalue="'x'", traceback=[]))
    elif how == "warning":
        last.outputs.append(new_output("stream", name="stderr", text="UserWarning: hm"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("stripped", "cell 1 was not executed"),
        ("outputs stripped", "no cell has an output"),
        ("one cell unexecuted", "cell 5 was not executed"),
        ("error", "cell 5 raised KeyError: 'x'"),
        ("warning", "cell 5 wrote to stderr: UserWarning: hm"),
    ],
)
def test_a_notebook_that_did_not_run_cleanly_to_its_end_is_refused(run_twice, how, message):
    notebook = read_notebook(run_twice[1][0])
    spoil(notebook, how)
    assert problem(notebook).startswith(message)


@pytest.mark.parametrize("content", ["", "not json", "[]", "{}", '{"nbformat": 4}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(StudyError, match=r"x\.ipynb is not a notebook"):
        read_notebook(path)
    with pytest.raises(StudyError, match=r"y\.ipynb: no such notebook"):
        read_notebook(tmp_path / "y.ipynb")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("kk: int = 30", r"^x\.ipynb has no parameter 'k': did you mean kk\?$"),
        ("k: int = 30", r"^x\.ipynb: parameter 'k' should be a valid integer, got '30'"),
        (None, r"^x\.ipynb: 0 cells are tagged 'parameters'"),
    ],
)
@pytest.mark.usefixtures("no_kernel")
def test_parameters_that_do_not_fit_are_refused_before_a_kernel_starts(
    tmp_path, make_notebook, declared, message
):
    source = make_notebook(tmp_path / "x.ipynb", "print(1)", parameters=declared)
    with pytest.raises(StudyError, match=message):
        run_notebook(source, tmp_path / "out.ipynb", {"k": "30"})
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ratings = {}\nratings[k]", "cell 2 raised KeyError: 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "cell 2 killed the kernel"),
        ("import warnings\nwarnings.warn('hm')", "cell 2 wrote to stderr"),
        ("import sys\nsys.exit(0)", "cell 2 raised SystemExit: 0"),
    ],
)
def test_a_failure_names_notebook_cell_and_parameters_and_leaves_the_old_output(
    tmp_path, make_notebook, code, message
):
    source = make_notebook(tmp_path / "04_depth.ipynb", code, "print('never')")
    output = tmp_path / "out" / "04_depth.ipynb"
    output.parent.mkdir()
    output.write_text("the old output")
    with pytest.raises(StudyError) as caught:
        run_notebook(source, output, {"k": 7})
    told = str(caught.value)
    assert told.startswith(f"04_depth.ipynb failed: {message}")
    assert all(f"    {line}" in told for line in code.splitlines())
    assert "parameters: {'k': 7}" in told
    assert output.read_text() == "the old output"
    failed = output.with_name("04_depth.failed.ipynb")
    assert str(failed) in told
    assert sorted(output.parent.iterdir()) == [failed, output]
    assert problem(read_notebook(failed)) != ""


def test_why_a_notebook_failed_is_told_even_if_it_cannot_be_kept(
    tmp_path, make_notebook, monkeypatch
):
    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = make_notebook(tmp_path / "x.ipynb", "1 / 0")
    monkeypatch.setattr(paths, "write_atomically", no_room)
    with pytest.raises(StudyError) as caught:
        run_notebook(source, tmp_path / "out.ipynb", {})
    assert "cell 2 raised ZeroDivisionError" in str(caught.value)
    assert "could not be kept: [Errno 28] No space left on device" in str(caught.value)


def test_the_kernel_means_the_folders_that_the_runner_means(tmp_path, make_notebook, monkeypatch):
    """The runner stands in ``here``, the kernel in ``notebooks``."""
    for name in ("here", "notebooks", "home"):
        (tmp_path / name).mkdir()
    source = make_notebook(
        tmp_path / "notebooks" / "x.ipynb",
        "from rvdlib import paths\n"
        "print(paths.data_dir(), paths.user_cache(), paths.RESULTS, sep='\\n')",
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("RVD_DATA_DIR", "mydata")
    monkeypatch.setenv("RVD_CACHE_DIR", "~/cache")
    monkeypatch.setattr(paths, "OUTPUT", tmp_path / "here" / "myout")
    run_notebook(source, tmp_path / "out.ipynb", {})
    (printed,) = outputs_of(tmp_path / "out.ipynb")[-1]
    assert printed.text.splitlines() == [
        str(tmp_path / "here" / "mydata"),
        "~/cache",
        str(tmp_path / "here" / "myout" / "results"),
    ]
    assert not list(tmp_path.rglob("~"))


@pytest.mark.parametrize(
    ("home", "project", "text", "shown"),
    [
        ("/", "/app", "<td>a</td> <br/> / // /x", "<td>a</td> <br/> / // /x"),
        ("", "/app", "<td>a</td> / /x", "<td>a</td> / /x"),
        ("relative", "/app", "relative/x", "relative/x"),
        ("/root", "/", "/x </td>", "/x </td>"),
        ("/td", "/tr", "<td>/td/a</td><tr></tr>", "<td>~/a</td><tr></tr>"),
        ("/td", "/td", "</td>", "</td>"),
        ("/root", "/app", "/rootless /root2/x /root-x /root.d /root_", None),
        ("/root", "/app", "/mnt/root/x x/root ./root ~/root http://host/root", None),
        ("/root", "/app", "/root /root/ '/root/x' \"/root\" (/root), a=/root:/root/b; /root.", 1),
        ("/root", "/app", "/app/x /appshop/x /mnt/app/x", "x /appshop/x /mnt/app/x"),
        ("/root", "/app", "in /app/ and /app", "in /app/ and /app"),
        ("/app/home", "/app", "/app/home/x /app/homely/x /app/x", "~/x homely/x x"),
        ("/root", "/root/app", "/root/app/x /root/apping/x /root/app", "x ~/apping/x ~/app"),
        ("/app", "/app", "/app/x /app", "x ~"),
        ("/r.o+t", "/w(k", "/r.o+t/x /rxoot/x /w(k/x", "~/x /rxoot/x x"),
    ],
)
def test_only_whole_prefixes_of_paths_are_shortened(monkeypatch, home, project, text, shown):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(paths, "PROJECT", Path(project))
    expected = text.replace(home, "~") if shown == 1 else shown or text
    assert _anonymous(text) == expected
