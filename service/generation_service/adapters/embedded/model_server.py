"""The process of the local model: an OpenAI-compatible server on a loopback port. It ends with its parent.

`python -m generation_service.adapters.embedded.model_server FILE PORT` prints its address when the model is loaded. A
process of its own, because the model computes on all the processors that it is given, and the event loop needs one.
"""

import os
import signal
import sys
import threading
from typing import Final

import xllamacpp

THREADS: Final = 2
PARALLEL: Final = 4  # requests that share the processors; more slow each one down below reading speed
CONTEXT_TOKENS: Final = 2048  # for each of them


def main() -> int:
    """Serve until the parent is gone."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.model_alias = {"SmolLM2-135M-Instruct"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[2])
    parameters.n_ctx = PARALLEL * CONTEXT_TOKENS
    parameters.n_parallel = PARALLEL
    parameters.cpuparams.n_threads = THREADS
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # The parent holds the other end of our standard input; its end, however the parent ended, is ours.
    threading.Thread(target=_wait_for_the_end_of_input, args=(ended,), daemon=True).start()
    ended.wait()
    os._exit(0)  # the server has no orderly end and nothing to lose


def _wait_for_the_end_of_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
