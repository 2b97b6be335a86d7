"""What goes over the wire about clones."""

from typing import Annotated

from pydantic import Field, StringConstraints

from homeport.api.wire import Asked, Name

Label = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{0,60}$")]


class CloneRequest(Asked):
    source: Name = Field(description="the environment that is cloned", examples=["production"])
    database: Name | None = Field(None, description='default: the only one, or "main"')
    backup: Label = Field("", description="a proven one; default: the newest")
    repository: Name | None = None
    replace: bool = Field(False, description="drop the database that served before; default: keep it beside")
    files: bool = Field(False, description="also the files of [storage], which no mask reaches")
    confirm: str = Field(
        "", max_length=63, description="the environment's own name, once more", examples=["staging"]
    )
