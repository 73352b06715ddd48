"""A client of the running node's API for the commands; the standard library alone, so that they start at once."""

from __future__ import annotations

import http.client
import json
import shlex
from typing import Any

from node.errors import ExitCode, UserError
from node.home import NetworkHome, read_plain

# A daemon answers what it knows in milliseconds; this long means that it is stuck.
TIMEOUT_S = 10.0
_API_FILE_SIZE_MAX = 4_096
_HTTP_OK = 200
_HTTP_UNAUTHORISED = 401
_HTTP_BUG = 500
_OF_THE_REQUEST = frozenset({400, 413, 422})


class Client:
    """Speaks to the node that wrote the API file of `home`. Every method raises `UserError` in one line."""

    def __init__(self, home: NetworkHome, start: str = "tutti run") -> None:
        """`start` is the command that starts the node, to be told if none runs."""
        self._home, self._start = home, start
        try:
            api = json.loads(read_plain(home.api_file, _API_FILE_SIZE_MAX))
            self._port, self._token = int(api["port"]), str(api["token"])
        except PermissionError as error:
            raise UserError(f"{home.api_file} belongs to another user: run this as the one who runs the node") from error
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._nobody() from error

    def get(self, path: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """A JSON object from the node, within `timeout_s` seconds."""
        return self._call("GET", path, None, timeout_s)

    def post(self, path: str, body: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Send a JSON object and get one back, within `timeout_s` seconds."""
        return self._call("POST", path, body, timeout_s)

    def _nobody(self) -> UserError:
        others = sorted(file.parent.name for file in self._home.state.parent.glob("*/api.json") if file != self._home.api_file)
        hint = f", or add --network {self._named(others[0])}, where one may run" if others else ""
        return UserError(
            f"no node runs in {self._home.data} (network {self._home.data.name}): start one with `{self._start}`{hint}",
            ExitCode.NO_DAEMON,
        )

    def _named(self, directory: str) -> str:
        """What --network takes for the network of a directory: a preset's name, or the file that its home keeps."""
        file = NetworkHome(self._home.data.parent / directory, self._home.state.parent / directory).network_file
        return shlex.quote(str(file)) if file.exists() else directory

    def _call(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            content = response.read()
            value = {} if response.status == _HTTP_BUG else json.loads(content)
        except ConnectionRefusedError as error:
            raise self._nobody() from error
        except TimeoutError as error:
            raise UserError(
                f"the node in {self._home.data} did not answer within {timeout_s:.0f} s: it hangs, or has too much to do"
            ) from error
        except ConnectionError as error:
            raise UserError(
                f"the node in {self._home.data} stopped before it answered: its log says why", ExitCode.NO_DAEMON
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Something else has got the port of a node that was killed.
            raise self._nobody() from error
        finally:
            connection.close()
        if response.status == _HTTP_BUG:
            raise UserError(f"the node in {self._home.data} failed at this request, which is a bug: its log says where")
        if response.status == _HTTP_UNAUTHORISED or not isinstance(value, dict):
            raise self._nobody()
        if response.status != _HTTP_OK:
            reason = str(value.get("error") or f"the node answered with status {response.status}")
            raise UserError(reason, ExitCode.USAGE if response.status in _OF_THE_REQUEST else ExitCode.FAILED)
        return value
