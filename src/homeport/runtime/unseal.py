"""Opens the secrets of one instance for the log daemon: ``python -I -S unseal.py <document> < <document>``.

The document comes on standard input, as the log daemon saw it; it is read again by its path when a change
of keys came in between. Standard output, a pipe, gets ``{token: value}``, or ``{"": why not}``. It imports
nothing of Homeport's but ``system.seal``, by its path, and ``cryptography`` from where the document says.
"""

import json
import os
import resource
import signal
import sys

SECONDS = 5
"""The time it has. The log daemon kills it then; should that have died itself, the alarm does."""


def no_core_dump() -> None:
    """A core dump would hold what was opened."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def opened(path: str) -> dict[str, str]:
    with os.fdopen(0) as f:
        documents = [json.load(f)]
    sys.path += [
        os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system"),
        documents[0]["packages"],
    ]
    import seal

    sealed: dict[str, str] = {}

    def tokens() -> dict[str, str]:
        if documents:
            sealed.update(documents.pop()["secrets"])
        else:
            try:
                with open(path) as f:
                    again = json.load(f).get("secrets", {})
            except FileNotFoundError:
                return sealed
            sealed.clear()
            sealed.update(again)
        return sealed

    key = documents[0]["key"]
    try:
        values = seal.open_all(key, tokens)
    except seal.SealError as e:
        return {"": e.sentence}
    return {token: values[name] for name, token in sealed.items()}


def main(path: str) -> None:
    no_core_dump()
    signal.alarm(SECONDS + 1)
    try:
        answer = opened(path)
    except Exception as e:  # whatever it is: its text might hold a value
        answer = {"": f"cannot open its secrets: {type(e).__name__}"}
    with os.fdopen(1, "w") as f:
        json.dump(answer, f)


if __name__ == "__main__":
    main(sys.argv[1])
