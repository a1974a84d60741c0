"""Griffe extension: show declared options by their type and help.

An option is declared as `Annotated[TYPE, OptionSpec(HELP, ...)]`. The reference shows the type as
the annotation of the field and the help as its description.
"""

from __future__ import annotations

import ast
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

from griffe import Docstring, ExprSubscript, ExprTuple, Extension, ObjectNode

from dreamr._option_specs import option_specs


class Options(Extension):
    """Unwraps the fields of dataclasses of options."""

    def on_attribute_instance(
        self, *, node: ast.AST | ObjectNode, attr: Any, **kwargs: Any
    ) -> None:
        """Replace the annotation of an option by its type, and add its help."""
        annotation = attr.annotation
        if not isinstance(annotation, ExprSubscript) or str(annotation.left) != "Annotated":
            return
        if not isinstance(annotation.slice, ExprTuple) or not attr.parent.is_class:
            return
        attr.annotation = annotation.slice.elements[0]
        declared = getattr(import_module(attr.parent.module.path), attr.parent.name)
        if is_dataclass(declared):
            _, spec = option_specs(declared)[attr.name]
            attr.docstring = attr.docstring or Docstring(spec.help, parent=attr)
