"""Methods that read and write dbt's dataclasses, generated when they are called.

mashumaro generates four of them for each of 300 classes while dbt is imported, of which a command calls a few. With its own
option `lazy_compilation`, which dbt uses for most classes, it still generates and compiles a method that generates the method. It
replaces two functions of mashumaro: see lean_dbt.
"""

from __future__ import annotations

from typing import Any

from mashumaro.config import ADD_DIALECT_SUPPORT
from mashumaro.core.meta.code.builder import CodeBuilder
from mashumaro.mixins import dict as mixin


def generate_methods_when_they_are_called() -> None:
    """For classes that are defined from now on."""
    functions: Any = mixin
    functions.compile_mixin_packer = _pack_later(functions.compile_mixin_packer)
    functions.compile_mixin_unpacker = _unpack_later(functions.compile_mixin_unpacker)


def _pack_later(generate: Any) -> Any:
    def pack_later(
        cls: type[Any], format_name: str = "dict", dialect: Any = None, encoder: Any = None, encoder_kwargs: Any = None
    ) -> None:
        if _has_dialects(cls):
            generate(cls, format_name, dialect, encoder, encoder_kwargs)
            return
        name = CodeBuilder.get_pack_method_name(format_name=format_name, encoder=encoder)

        def pack(self: Any, *args: Any, **options: Any) -> Any:
            # it replaces this one
            CodeBuilder(
                type(self),
                first_method=name,
                allow_postponed_evaluation=False,
                format_name=format_name,
                encoder=encoder,
                encoder_kwargs=encoder_kwargs,
                default_dialect=dialect,
            ).add_pack_method()
            return getattr(self, name)(*args, **options)

        setattr(cls, name, pack)
        setattr(cls, name.public, pack)

    return pack_later


def _unpack_later(generate: Any) -> Any:
    def unpack_later(cls: type[Any], format_name: str = "dict", dialect: Any = None, decoder: Any = None) -> None:
        if _has_dialects(cls):
            generate(cls, format_name, dialect, decoder)
            return
        name = CodeBuilder.get_unpack_method_name(format_name=format_name, decoder=decoder)

        def unpack(cls: type[Any], *args: Any, **options: Any) -> Any:
            CodeBuilder(
                cls,
                first_method=name,
                allow_postponed_evaluation=False,
                format_name=format_name,
                decoder=decoder,
                default_dialect=dialect,
            ).add_unpack_method()
            return getattr(cls, name)(*args, **options)

        setattr(cls, name, classmethod(unpack))
        setattr(cls, name.public, classmethod(unpack))

    return unpack_later


def _has_dialects(cls: type[Any]) -> bool:
    """Whether the methods have a parameter for another dialect. They look for methods that were generated for it."""
    return CodeBuilder(cls).is_code_generation_option_enabled(ADD_DIALECT_SUPPORT)
