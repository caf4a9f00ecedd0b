# SPDX-License-Identifier: Apache-2.0
from typing import Any, Dict, Optional, Sequence, Tuple, TypeVar, Union, overload

import numpy
import numpy.typing

VERSION: str

_Out = TypeVar("_Out")
_Service = Union[str, Sequence[str]]

class Client:
    def __init__(
        self,
        mapped: Optional[str] = "unix:/run/pillion/mapped.sock",
        resp: Optional[str] = "unix:/run/pillion/resp.sock",
        *,
        name: Optional[str] = None,
        timeout: float = 1.0,
        refresh: float = 0.02,
    ) -> None: ...
    @overload
    def vectors(
        self,
        service: _Service,
        keys: Any,
        out: None = None,
        *,
        defaults: bool = False,
        max_age: Optional[float] = None,
        dtype: Any = "float32",
        min_release: Optional[str] = None,
    ) -> numpy.typing.NDArray[Any]: ...
    @overload
    def vectors(
        self,
        service: _Service,
        keys: Any,
        out: _Out,
        *,
        defaults: bool = False,
        max_age: Optional[float] = None,
        dtype: Any = "float32",
        min_release: Optional[str] = None,
    ) -> _Out: ...
    def close(self) -> None: ...
    def _read(self, service: _Service, keys: Any, out: Any = None, **options: Any) -> Tuple[Any, Any, Any, Any]: ...
    def _columns(
        self, service: _Service, keys: Dict[str, Any]
    ) -> Tuple[Tuple[str, ...], Tuple[str, ...], Tuple[Tuple[str, str, str, Any, bytes, Any], ...]]: ...
    def _list(self, kind: int) -> Tuple[str, ...]: ...
    def _describe(self, service: _Service, is_columns: bool) -> Tuple[Any, int, Tuple[str, ...], Tuple[str, ...]]: ...
    def _info(self) -> Tuple[Any, ...]: ...
