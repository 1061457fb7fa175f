"""Students whose origin is not known: loaded first in a process that may die.

Belongs here: the order of checks for a file that came from elsewhere, and the child process. Does
not belong here: the checks themselves (`student_record`, `model_text`, `student_file`).

A forger can give a text right digests, and LightGBM trusts what it reads. So the text is read as
data first (digest, seal, fields, structure of the model), then a child process with a bound on
memory, processor seconds and time loads it and must reproduce the recorded sample. Only what the
child survived is loaded here, from the very text that the child was given.
"""

import subprocess
import sys
from pathlib import Path

from sensequant.errors import RecordError
from sensequant.model_text import read_model_text, verify_digest
from sensequant.student_file import Student, load_student
from sensequant.student_record import read_student_record, read_student_text

__all__ = ["load_foreign_student"]

_MEMORY_BYTES = 2 * 1024**3
"""What the child may take beyond what the libraries take by being imported."""

_REFUSED = 3
_MOST_WORDS = 2000

# Limits come after the imports, which reserve address space by the number of cores.
_PROGRAM = """
import resource, sys
from sensequant.errors import SenseQuantError
from sensequant.student_file import load_student
memory, seconds = int(sys.argv[1]), int(sys.argv[2])
pages = int(open("/proc/self/statm").read().split()[0])
used = pages * resource.getpagesize() + memory
spent = resource.getrusage(resource.RUSAGE_SELF)
processor = int(spent.ru_utime + spent.ru_stime) + seconds + 1
resource.setrlimit(resource.RLIMIT_AS, (used, used))
resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    load_student(sys.stdin.buffer.read().decode())
except SenseQuantError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""


def load_foreign_student(
    path: Path, *, sha256: str | None = None, timeout_seconds: int = 60
) -> Student:
    """Load a student that was not made here, once a child process has survived loading it.

    Parameters
    ----------
    path
        The file.
    sha256
        Digest that a manifest promises for its text; None if there is none to compare with.
    timeout_seconds
        Time, and processor time, that the child may take, at least 1.

    Raises
    ------
    StorageError
        The file cannot be read.
    DigestMismatchError, SchemaVersionError
        It is not the one that was written or promised, or has another layout.
    RecordError
        It is no student, its model has no sound structure, or the child process did not reproduce
        the recorded sample: it refused, crashed, took too much memory or too long.
    """
    text = read_student_text(path)
    if sha256 is not None:
        verify_digest(text, sha256=sha256)
    file = read_student_record(text)
    if file.model_text is not None:
        verify_digest(file.model_text, sha256=file.model_sha256)
        read_model_text(file.model_text)
    _try_in_a_child(text, path=path, timeout_seconds=timeout_seconds)
    return load_student(text)


def _try_in_a_child(text: str, *, path: Path, timeout_seconds: int) -> None:
    try:
        child = subprocess.run(  # noqa: S603 - a constant program and numbers
            [sys.executable, "-c", _PROGRAM, str(_MEMORY_BYTES), str(timeout_seconds)],
            input=text.encode(),
            capture_output=True,
            timeout=timeout_seconds,
            # The child finds the very sources that run here, whatever the working folder.
            cwd=Path(__file__).parents[1],
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refusal(path, f"no answer within {timeout_seconds} seconds") from error
    if child.returncode:
        raise _refusal(path, _told(child.returncode, child.stderr.decode(errors="replace")))


def _told(code: int, said: str) -> str:
    if code == _REFUSED:
        return said.strip()[-_MOST_WORDS:]
    if code < 0:
        return f"it was ended by signal {-code}"
    lines = said.strip().splitlines()
    return f"it ended with code {code}: {lines[-1][:_MOST_WORDS] if lines else 'no word'}"


def _refusal(path: Path, found: str) -> RecordError:
    return RecordError(
        "foreign student did not load in a process of its own",
        where=str(path),
        expected="a student that reproduces its recorded sample",
        found=found,
        remedy="do not use it; get the file from the run that wrote it",
    )
