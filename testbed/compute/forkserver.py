"""The fork server: starts execution environments in milliseconds, from one interpreter with their libraries loaded.

It runs as a file, ``python -P forkserver.py CONTROL_FD PYCACHE``, and imports nothing of the testbed, so that neither
memory nor ``sys.modules`` of a function holds anything of it. It stays single-threaded, since only then is forking
safe.

It talks with the plane over a SOCK_SEQPACKET socket, one JSON document per packet:

* ``{"op": "spawn", "id", "environ", "task_root", "layers", "bootstrap"}`` with the write end of the log pipe as
  ancillary data,
* ``{"op": "kill", "id"}``,
* back: ``{"op": "ready"}`` once, ``{"op": "spawned", "id", "pid"}`` and
  ``{"op": "exited", "id", "status", "peak_kb"}``, status as of waitpid(2).

Only this process waits for environments, and only it kills them: a process id cannot be reused before it is waited for,
so no other process is ever hit. When the control socket ends, it kills them all and ends.
"""

import contextlib
import ctypes
import functools
import gc
import http.client
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

PACKET_BYTES: Final = 256 * 1024
OPEN_FILES: Final = 1024  # AWS Lambda developer guide, Lambda quotas: file descriptors
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_FRESH: Final = "--fresh"
# What the runtime client needs, but for the parts that read the environment when they are imported.
_RUNTIME: Final = (
    "awslambdaric.lambda_context",
    "awslambdaric.lambda_runtime_exception",
    "awslambdaric.lambda_runtime_log_utils",
    "awslambdaric.lambda_runtime_marshaller",
    "snapshot_restore_py",
)
_LIBRARIES: Final = (
    "boto3",
    "psycopg",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.utilities.batch",
)
_WARM_SERVICES: Final = ("sqs", "sns", "kinesis", "dynamodb", "s3", "events", "stepfunctions", "secretsmanager")


def load(names: tuple[str, ...]) -> None:
    """Import modules for the sake of having them loaded."""
    for name in names:
        importlib.import_module(name)


def warm_botocore() -> None:
    """Read botocore's models of the services that functions use most."""
    boto3 = importlib.import_module("boto3")
    session = boto3.Session("-", "-", region_name="us-east-1")
    for service in _WARM_SERVICES:
        session.client(service).close()
    _share_models(session)
    _share_names(session)


def _share_models(session: Any) -> None:
    """Let every session of every environment start with the models that ``session`` has read.

    Reading and parsing them is three quarters of what a first client costs. botocore shares these documents between
    all clients of a session already, so it never changes them. Nothing else of the session is kept: settings and
    credentials are read from the environment of the function.
    """
    loader: Any = importlib.import_module("botocore.loaders").Loader
    models = session._session.get_component("data_loader")._cache  # noqa: SLF001  # botocore has no public way
    create = loader.__init__

    def create_warm(self: Any, *arguments: Any, **keywords: Any) -> None:
        create(self, *arguments, **keywords)
        self._cache = dict(models)

    loader.__init__ = create_warm


def _share_names(session: Any) -> None:
    """Let every session start with what ``session`` has found out about botocore's own event names and handlers.

    That is two thirds of what a session costs, and depends on these names and on the handlers' signatures alone.
    """
    hooks: Any = importlib.import_module("botocore.hooks")
    aliases = session._session.get_component("event_emitter")._alias_name_cache  # noqa: SLF001  # as with the models
    create = hooks.EventAliaser.__init__

    def create_warm(self: Any, *arguments: Any, **keywords: Any) -> None:
        create(self, *arguments, **keywords)
        self._alias_name_cache = dict(aliases)

    hooks.EventAliaser.__init__ = create_warm
    hooks.accepts_kwargs = functools.lru_cache(maxsize=512)(hooks.accepts_kwargs)


def runtime_client(address: str) -> Any:
    """AWS's client of the Runtime API at ``host:port/path``.

    Its native part, which does the invokes, takes such an address as it is; the Python part, which reports a failed
    initialisation, knows host and port only.
    """
    host, _, path = address.partition("/")
    client = importlib.import_module("awslambdaric.lambda_runtime_client").LambdaRuntimeClient(host)
    call = client.call_rapid
    client.call_rapid = lambda method, endpoint, *rest: call(method, f"/{path}{endpoint}", *rest)
    return client


def run_handler(environ: dict[str, str], packages: list[str]) -> NoReturn:
    """Become an execution environment: AWS's runtime client over a handler, until it ends.

    Args:
        environ: Its environment variables.
        packages: Where modules are looked for first: the function's code, then its layers.
    """
    own_root = str(Path(__file__).resolve().parents[2])
    installed = [entry for entry in sys.path if entry != own_root or own_root.endswith("-packages")]
    sys.path[:] = [*packages, *installed]
    os.chdir(packages[0])
    os.environ.clear()
    os.environ.update(environ)
    code: Any = 1
    try:
        # Not before the environment is set: the native part reads the address when it is imported.
        bootstrap = importlib.import_module("awslambdaric.bootstrap")
        bootstrap.run(environ["_HANDLER"], runtime_client(environ["AWS_LAMBDA_RUNTIME_API"]))
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # an interpreter prints whatever ends it, and ends with 1
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if not isinstance(code, int | None):
        print(code, file=sys.stderr, flush=True)  # noqa: T201  # what sys.exit("text") does
        code = 1
    os._exit((code or 0) & 0xFF)


def layer_packages(environ: dict[str, str], layers: str | None) -> list[str]:
    """Folders of Python modules in ``layers`` (AWS Lambda developer guide, Packaging your layer content)."""
    runtime = environ.get("AWS_EXECUTION_ENV", "").removeprefix("AWS_Lambda_")
    folders = [f"{layers}/python/lib/{runtime}/site-packages", f"{layers}/python"] if layers else []
    return [folder for folder in folders if Path(folder).is_dir()]


def run_bootstrap(environ: dict[str, str], task_root: str, layers: str | None) -> NoReturn:
    """Become the function's own runtime (AWS Lambda developer guide, Building a custom runtime for AWS Lambda)."""
    os.chdir(task_root)
    problem = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    programs = {"/var/task/bootstrap": f"{task_root}/bootstrap", "/opt/bootstrap": f"{layers}/bootstrap"}
    for name, program in programs.items():
        if Path(program).is_file():
            try:
                os.execve(program, [program], environ)  # noqa: S606  # no shell is wanted
            except OSError as error:
                problem = f"fork/exec {name}: {(error.strerror or '').lower()}"
            break
    host, _, path = environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    api = http.client.HTTPConnection(host)
    document = json.dumps({"errorType": "Runtime.InvalidEntrypoint", "errorMessage": problem})
    api.request("POST", f"/{path}/2018-06-01/runtime/init/error", document)
    api.getresponse()
    os._exit(1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the fork server dies, however that happens (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def top_level_names(folder: str) -> set[str]:
    """What ``import`` would find in ``folder``."""
    return {entry.split(".", 1)[0] for entry in os.listdir(folder)}  # noqa: PTH208  # names are all it takes


class ForkServer:
    """Environments by id, and the loop that starts, kills and waits for them.

    Args:
        control: The socket to the plane.
        pycache: Folder for compiled code.
    """

    def __init__(self, control: socket.socket, pycache: str) -> None:
        self._control = control
        self._pycache = pycache
        self._pid = os.getpid()
        self._pids: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        load(_RUNTIME)
        runtime = set(sys.modules)
        load(_LIBRARIES)
        warm_botocore()
        # On AWS a module that the runtime has loaded stays, any other one is looked for in the package first.
        self._replaceable = {name.split(".", 1)[0] for name in sys.modules} - {
            name.split(".", 1)[0] for name in runtime
        }
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page that it shares

    def serve(self) -> None:
        """Work until the control socket ends; then kill every environment."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the plane says when to end
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(reader, selectors.EVENT_READ)
            self._send({"op": "ready"})
            try:
                while self._turn(selector, reader):
                    pass
            finally:
                self._end()

    def _turn(self, selector: selectors.BaseSelector, reader: int) -> bool:
        ready = {key.fileobj for key, _ in selector.select()}
        if reader in ready:
            os.read(reader, 4096)
            self._reap()
        return self._control not in ready or self._receive()

    def _receive(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, PACKET_BYTES, 1)
        except ConnectionResetError:  # the plane died with packets unread
            return False
        if not data:
            return False
        message = json.loads(data)
        if message["op"] == "spawn":
            self._spawn(message, descriptors[0])
        elif pid := self._pids.get(message["id"]):
            self._kill(pid)
        return True

    def _spawn(self, order: dict[str, Any], log: int) -> None:
        ident = order["id"]
        pid = os.fork()
        if pid == 0:
            try:
                self._become_environment(order, log)
            finally:
                os._exit(1)
        os.close(log)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # here too: a kill must find the group even before the child has run
        self._pids[ident] = pid
        self._ids[pid] = ident
        self._send({"op": "spawned", "id": ident, "pid": pid})

    def _become_environment(self, order: dict[str, Any], log: int) -> NoReturn:
        environ, task_root, layers = order["environ"], order["task_root"], order["layers"]
        os.setpgid(0, 0)
        die_with_parent(self._pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, max(null, log, self._control.fileno()) + 16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        with contextlib.suppress(OSError):  # where the machine itself runs out of memory, this process goes first
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        Path(environ["TMPDIR"]).mkdir(parents=True, exist_ok=True)
        if order["bootstrap"]:
            run_bootstrap(environ, task_root, layers)
        packages = [task_root, *layer_packages(environ, layers)]
        if set().union(*map(top_level_names, packages)) & self._replaceable:
            # The package brings a library that is loaded here already: only a new interpreter is free of it.
            arguments = [sys.executable, "-P", "-X", "utf8", __file__, _FRESH, *packages]
            os.execve(sys.executable, arguments, environ)  # noqa: S606  # no shell is wanted
        # What one environment has compiled, the next ones load, and nothing is written beside anybody's code.
        sys.pycache_prefix = self._pycache
        sys.dont_write_bytecode = False
        run_handler(environ, packages)

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._ids:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            self._kill(ended.si_pid)  # what the handler started; the group's id is ours until the next line
            _, status, usage = os.wait4(ended.si_pid, 0)
            ident = self._ids.pop(ended.si_pid, None)
            if ident is not None:
                del self._pids[ident]
                self._send({"op": "exited", "id": ident, "status": status, "peak_kb": usage.ru_maxrss})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next receive sees the end
            self._control.send(json.dumps(message).encode())

    def _end(self) -> None:
        for pid in self._ids:
            self._kill(pid)
        for pid in self._ids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def main(arguments: list[str]) -> None:
    """Serve on the descriptor given, or be the one environment of a fresh interpreter."""
    if arguments[0] == _FRESH:
        run_handler(dict(os.environ), arguments[1:])
    with socket.socket(fileno=int(arguments[0])) as control:
        control.set_inheritable(False)
        ForkServer(control, arguments[1]).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
