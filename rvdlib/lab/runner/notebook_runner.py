"""One notebook, executed by papermill, with what papermill lets pass made an error.

An executed notebook is written only when it ran to its end without an error or a warning, and it
holds nothing of when and where it ran, so that the same results give the same bytes, and results
that are the same within their tolerance leave it as it was.
"""

import base64
import copy
import io
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import progress
from rvdlib.lab.runner.environment import variables
from rvdlib.lab.runner.parameters import check_parameters, declared_parameters
from rvdlib.lab.runner.unchanged import (
    SHOWN,
    first_difference,
    on_white,
    same_picture,
    tolerance_of,
)
from rvdlib.writable import known_home


class ThisInterpreter(AsyncKernelManager):
    """A kernel of the Python that runs the study, whatever kernels are installed elsewhere."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # What goes wrong in a kernel comes back as an output; its own log would only repeat it.
        spec = get_kernel_dict(["--log-level=CRITICAL"])
        return KernelSpec(**spec, env={progress.VARIABLE: terminal()})


def terminal() -> str:
    """The device on which someone watches; the null device if nobody does."""
    return os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else os.devnull


def read_notebook(path: Path) -> NotebookNode:
    """Parse a notebook file.

    Raises:
        StudyError: if it is missing, or is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such notebook") from None
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise StudyError(f"{path} is not a notebook: {error}") from None


def run_notebook(source: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Execute ``source`` with ``parameters``, in its own folder, and write it to ``output``.

    Raises:
        StudyError: for parameters that do not fit, before a kernel starts; for a cell that fails
            or warns and for a kernel that dies. ``output`` is then left as it was, and what was
            executed is kept beside it as NAME.failed.ipynb.
    """
    notebook = read_notebook(source)
    check_parameters(declared_parameters(notebook, source.name), parameters, source.name)
    before = None
    with suppress(StudyError):  # there is none yet, or a damaged one
        before = read_notebook(output)
    failed = output.with_suffix(".failed.ipynb")
    # In the notebook's folder, a relative variable would mean another one.
    with tempfile.TemporaryDirectory() as folder, variables(paths.as_variables()):
        partial = Path(folder) / "partial.ipynb"
        try:
            executed = papermill.execute_notebook(
                copy.deepcopy(notebook),
                partial,
                dict(parameters),
                cwd=source.parent,
                kernel_name="python3",
                language="python",
                progress_bar={"desc": source.stem, "leave": False, "disable": None},
                kernel_manager_class=ThisInterpreter,
                coalesce_streams=True,
            )
            failure = problem(executed)
        except PapermillExecutionError:
            executed = read_notebook(partial)
            failure = problem(executed)
        except RuntimeError as error:  # nbclient's, when a kernel dies or does not start
            executed = read_notebook(partial)
            failure = _place_of_death(executed, error)
    if failure:
        try:
            paths.write_atomically(failed, nbformat.writes(executed))
            kept = f"what was executed is kept in {failed}"
        except OSError as error:
            kept = f"what was executed could not be kept: {error}"
        raise StudyError(f"{source.name} failed: {failure}\nparameters: {dict(parameters)}\n{kept}")
    executed = _without_circumstances(executed, notebook)
    if before:
        keep_outputs(executed, before, tolerance_of(source.stem, SHOWN))
    paths.write_atomically(output, nbformat.writes(executed))
    failed.unlink(missing_ok=True)


def problem(notebook: NotebookNode) -> str:
    """Why a notebook did not run to its end, or not cleanly, or lost its outputs, and in which cell;
    empty if it is an executed one."""
    code = [(i, cell) for i, cell in _cells(notebook) if cell.cell_type == "code" and cell.source]
    for index, cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                return f"cell {index} raised {output.ename}: {output.evalue}\n{_excerpt(cell)}"
            if output.output_type == "stream" and output.name == "stderr":
                return f"cell {index} wrote to stderr: {output.text.strip()}\n{_excerpt(cell)}"
        if cell.execution_count is None:
            return f"cell {index} was not executed\n{_excerpt(cell)}"
    if not any(cell.outputs for _, cell in code):
        return "no cell has an output: it was stripped, or shows nothing"
    return ""


def _place_of_death(partial: NotebookNode, error: Exception) -> str:
    begun = [(i, cell) for i, cell in _cells(partial) if cell.metadata.papermill.start_time]
    if not begun:
        return f"its kernel did not start: {error}"
    index, cell = begun[-1]
    return f"cell {index} killed the kernel: {error}\n{_excerpt(cell)}"


def _cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Cells with their index in the source, those that papermill put in left out."""
    added = {"injected-parameters", "papermill-error-cell-tag"}
    own = [cell for cell in notebook.cells if not added & set(cell.metadata.get("tags", []))]
    return list(enumerate(own))


def _excerpt(cell: NotebookNode) -> str:
    lines = cell.source.splitlines()
    return "\n".join(f"    {line}" for line in lines[:12] + ["…"] * (len(lines) > 12))


def _without_circumstances(executed: NotebookNode, source: NotebookNode) -> NotebookNode:
    """The notebook less times, run ids, machine paths and addresses; its images made light."""
    notebook = copy.deepcopy(executed)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat_minor = max(5, notebook.nbformat_minor)
    known = {cell.get("id") for cell in source.cells}
    for index, cell in enumerate(notebook.cells):
        if cell.get("id") not in known:
            cell.id = f"cell-{index}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter")}
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = _anonymous(output.text)
            for kind, content in output.get("data", {}).items():
                if kind == "image/png":
                    output.data[kind] = _light_png(content)
                elif isinstance(content, str):
                    output.data[kind] = _anonymous(content)
    return notebook


def keep_outputs(executed: NotebookNode, before: NotebookNode, tolerance: float) -> None:
    """Put back each output that says what it said ``before``, in a cell of the same source.

    Texts and tables are compared by :func:`rvdlib.lab.runner.unchanged.first_difference`, figures by
    :func:`rvdlib.lab.runner.unchanged.same_picture`.
    """
    known = {cell.get("id"): cell for cell in before.cells if cell.cell_type == "code"}
    for cell in executed.cells:
        old = known.get(cell.get("id"))
        if cell.cell_type == "code" and old is not None and old.source == cell.source:
            for place, pair in enumerate(zip(old.outputs, cell.outputs, strict=False)):
                if _says_the_same(*pair, tolerance):
                    cell.outputs[place] = old.outputs[place]


def _says_the_same(old: NotebookNode, new: NotebookNode, tolerance: float) -> bool:
    if old.output_type != new.output_type or old.get("name") != new.get("name"):
        return False
    before, after = ({"text": o.get("text", ""), **o.get("data", {})} for o in (old, new))
    return before.keys() == after.keys() and all(
        _same_content(kind, before[kind], after[kind], tolerance) for kind in before
    )


def _same_content(kind: str, old: Any, new: Any, tolerance: float) -> bool:
    if kind == "image/png":
        return same_picture(base64.b64decode(old), base64.b64decode(new), reach=1)
    if isinstance(old, str) and isinstance(new, str):
        return not first_difference(old, new, tolerance)
    return old == new


def _anonymous(text: str) -> str:
    """Paths in the project made relative, the home folder ``~``, addresses in memory ``0x…``.

    Only whole names at the beginning of a path count: ``</td>`` is none where HOME is ``/td``, and
    nothing is shortened where it is ``/``.
    """
    shorter = {f"{paths.PROJECT}/": "", str(known_home()): "~"}
    for prefix in sorted(shorter, key=len, reverse=True):
        if prefix.startswith("/") and prefix.strip("/"):
            end = r"(?=[\w.~@%+{-])" if prefix.endswith("/") else r"(?![\w@%+~=#-]|\.[\w-])"
            whole = rf"(?<![\w.~<@%+/)\]}}-]){re.escape(prefix)}{end}"
            text = re.sub(whole, shorter[prefix], text)
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x…", text)


def _light_png(content: str) -> str:
    """The figure on white, in a palette of 256 colours: half the bytes. Base64 in and out."""
    buffer = io.BytesIO()
    on_white(base64.b64decode(content)).quantize(256).save(buffer, "PNG", optimize=True)
    return min(content, base64.b64encode(buffer.getvalue()).decode(), key=len)
