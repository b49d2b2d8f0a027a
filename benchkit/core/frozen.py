"""The base classes of everything that is a fact, and of everything that a person writes."""

import pydantic


class Fact(pydantic.BaseModel):
    """Something that was measured or made: frozen; unknown keys of a later version are kept."""

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Setting(pydantic.BaseModel):
    """Something that a person wrote: frozen; an unknown key is an error, None means not given."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
